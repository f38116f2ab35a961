"""A learning curve as a plotly figure: quality against rows on a logarithmic axis, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from honed.evaluate import charts, words
from honed.evaluate.stats import Interval
from honed.rounds.curve.law import Law
from honed.rounds.curve.outcome import CurveOutcome, Point

_LIGHT = {role: light for role, (light, _) in charts.COLOURS.items()}
_HEIGHT = 380


def figures(found: CurveOutcome) -> dict[str, dict[str, Any]]:
    """Return the charts that there are numbers for: ``loss``, ``passed``."""
    made = {}
    if found.loss_rows:
        values = [(point.loss, point.interval) for point in found.points]
        made["loss"] = _figure(found, values, "held-out loss, nats per token", ".3f", found.law)
    if found.judged:
        rates = [(100 * one.rate, Interval(*(100 * end for end in one.interval))) for one in _rates(found.points)]
        made["passed"] = _figure(found, rates, "held-out rows passed, %", ".0f", None)
    return made


def _rates(points: Sequence[Point]) -> list[Any]:
    return [point.passed for point in points]


def _figure(
    found: CurveOutcome, values: Sequence[tuple[Any, Any]], what: str, form: str, law: Law | None
) -> dict[str, Any]:
    """``values`` are (value, interval) of the base and of each size."""
    sizes = [point.size for point in found.points[1:]]
    (base, around), *rest = values
    figure = go.Figure()
    figure.add_hrect(y0=around.low, y1=around.high, fillcolor=_LIGHT["base"], opacity=0.12, line_width=0)
    ends = [sizes[0], sizes[-1] * 2]
    figure.add_scatter(x=ends, y=[base, base], name="base model", mode="lines", line=charts.line("base", 1.5))
    if law and law.identified:
        x = np.geomspace(ends[0], ends[1], 60)
        y = law.a + law.b * x**-law.c
        name = f"fitted: {law.a:.2f} + {law.b:.2f} n<sup>{words.MINUS}{law.c:.2f}</sup>"
        figure.add_scatter(x=x, y=y, name=name, mode="lines", line={**charts.line("floor", 1.5), "dash": "dot"})
        figure.add_trace(_ahead(law, form))
    figure.add_scatter(
        x=sizes,
        y=[value for value, _ in rest],
        name="trained",
        mode="lines+markers",
        line=charts.line("tuned", 2.5),
        marker={"size": 9},
        error_y=_arms(rest, "tuned"),
        text=[words.span(interval, 1, 3 if form == ".3f" else 0) for _, interval in rest],
        hovertemplate=f"%{{x:,}} {found.unit}: %{{y:{form}}} (%{{text}})<extra></extra>",
    )
    figure.update_layout(
        **charts.frame(_HEIGHT),
        xaxis={
            **charts.axis(),
            "type": "log",
            "title": charts.title(f"training {found.unit}"),
            "tickvals": [*sizes, ends[1]] if law and law.identified else sizes,
            "ticktext": [f"{size:,}" for size in [*sizes, ends[1]]],
        },
        yaxis={**charts.axis(), "title": charts.title(what)},
    )
    return charts.plain(figure)


def _ahead(law: Law, form: str) -> go.Scatter:
    ahead = law.forecast
    return go.Scatter(
        x=[ahead.rows],
        y=[ahead.loss],
        name="expected with twice as many",
        mode="markers",
        marker={"size": 9, "symbol": "circle-open", "color": _LIGHT["floor"]},
        error_y=_arms([(ahead.loss, ahead.interval)], "floor"),
        hovertemplate=f"expected of %{{x:,}}: %{{y:{form}}}<extra></extra>",
    )


def _arms(values: Sequence[tuple[Any, Any]], role: str) -> dict[str, Any]:
    return {
        "array": [interval.high - value for value, interval in values],
        "arrayminus": [value - interval.low for value, interval in values],
        "color": _LIGHT[role],
        "thickness": 1.5,
        "width": 4,
    }
