"""The report's charts as plotly figures. Colours are the light theme's; the page swaps them for the dark one's."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape  # plotly reads a few tags in its texts; a group's name is data
from typing import Any

import plotly.graph_objects as go

from honed.evaluate import words
from honed.evaluate.curve import Curve
from honed.evaluate.outcome import Rate
from honed.evaluate.segment import Segment
from honed.look.figures import COLOURS as COLOURS
from honed.look.figures import axis as axis
from honed.look.figures import frame as frame
from honed.look.figures import line as line
from honed.look.figures import plain as plain
from honed.look.figures import title as title

SIDES = ("base", "tuned", "third", "fourth", "fifth", "sixth")
"""The roles of models that are compared, in their order."""
SYMBOLS = {
    "base": "square",
    "tuned": "circle",
    "third": "diamond",
    "fourth": "triangle-up",
    "fifth": "cross",
    "sixth": "star",
}

_LIGHT = {role: light for role, (light, _) in COLOURS.items()}
_GROUP_PIXELS = 50
_LANES = {"base": 0.17, "tuned": -0.17}


def pass_rates(segments: Sequence[Segment]) -> dict[str, Any]:
    """Return dots with intervals for both models, and ticks for both floors, one group a line, the first on top."""
    places = list(range(len(segments)))[::-1]
    figure = go.Figure()
    for floor, symbol in (("constant", "line-ns"), ("echo", "x-thin")):
        known = [
            (segment.floors[floor], y) for segment, y in zip(segments, places, strict=True) if floor in segment.floors
        ]
        figure.add_scatter(
            x=[100 * passed.rate for passed, _ in known],
            y=[y for _, y in known],
            name=words.FLOORS[floor],
            mode="markers",
            marker={"symbol": symbol, "size": 12, "color": _LIGHT["floor"], "line": line("floor", 2)},
            hovertemplate=f"{words.FLOORS[floor]}: %{{x:.1f}} %<extra></extra>",
        )
    for side in ("base", "tuned"):
        lanes = [place + _LANES[side] for place in places]
        figure.add_trace(_dots(side, [getattr(segment, side) for segment in segments], lanes, f"{side} model"))
    figure.update_layout(
        **frame(50 + _GROUP_PIXELS * len(segments)),
        showlegend=False,
        xaxis={**axis(), "range": [-2, 102], "ticksuffix": " %", "dtick": 25},
        yaxis={
            **axis(),
            "tickvals": places,
            "ticktext": [f"{escape(words.plain(segment.name))} ({segment.n})" for segment in segments],
            "range": [-0.6, len(segments) - 0.4],
        },
    )
    return plain(figure)


def rates(groups: Sequence[tuple[str, Sequence[Rate]]], roles: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """Return dots with intervals for any number of models, one group a line, the first on top.

    Each group is its name and a rate for each model; ``roles`` and ``names`` are those of the models.
    """
    places = list(range(len(groups)))[::-1]
    figure = go.Figure()
    for at, (role, name) in enumerate(zip(roles, names, strict=True)):
        lane = 0.0 if len(roles) == 1 else 0.3 - 0.6 * at / (len(roles) - 1)
        figure.add_trace(_dots(role, [cells[at] for _, cells in groups], [place + lane for place in places], name))
    figure.update_layout(
        **frame(50 + max(34, 14 + 16 * len(roles)) * len(groups)),
        showlegend=False,
        xaxis={**axis(), "range": [-2, 102], "ticksuffix": " %", "dtick": 25},
        yaxis={
            **axis(),
            "tickvals": places,
            "ticktext": [f"{escape(words.plain(name))} ({cells[0].n})" for name, cells in groups],
            "range": [-0.6, len(groups) - 0.4],
        },
    )
    return plain(figure)


def losses(curve: Curve) -> dict[str, Any]:
    """Return the training loss of every step, its running mean, and the held-out losses measured on the way."""
    steps = [step for step, _ in curve.train]
    values = [value for _, value in curve.train]
    figure = go.Figure()
    figure.add_scatter(x=steps, y=values, name="training, each step", mode="lines", line=line("floor", 1))
    figure.add_scatter(x=steps, y=_smooth(values), name="training, running mean", mode="lines", line=line("tuned", 2.5))
    if curve.heldout:
        figure.add_scatter(
            x=[step for step, _ in curve.heldout],
            y=[value for _, value in curve.heldout],
            name="held out",
            mode="lines+markers",
            line={**line("ink", 2), "dash": "dot"},
            marker={"size": 8, "symbol": "diamond"},
        )
    figure.update_traces(hovertemplate="step %{x}: %{y:.3f}")
    figure.update_layout(
        **frame(320),
        xaxis={**axis(), "title": title("step")},
        yaxis={**axis(), "title": title("nats per supervised token"), "rangemode": "tozero"},
    )
    return plain(figure)


def _dots(side: str, rates: Sequence[Rate], places: Sequence[float], name: str) -> go.Scatter:
    return go.Scatter(
        x=[100 * rate.rate for rate in rates],
        y=list(places),
        name=escape(name),
        mode="markers",
        marker={"size": 11, "color": _LIGHT[side], "symbol": SYMBOLS[side]},
        error_x={
            "array": [100 * (rate.interval.high - rate.rate) for rate in rates],
            "arrayminus": [100 * (rate.rate - rate.interval.low) for rate in rates],
            "color": _LIGHT[side],
            "thickness": 2,
            "width": 0,
        },
        text=[f"{rate.passed} of {rate.n}, {words.span(rate.interval)} %" for rate in rates],
        hovertemplate="%{fullData.name}: %{x:.1f} % (%{text})<extra></extra>",
    )


def _smooth(values: Sequence[float]) -> list[float]:
    """A trailing mean over a twentieth of the run: it lags a little and never looks ahead."""
    width = max(1, len(values) // 20)
    return [sum(part) / len(part) for end in range(len(values)) if (part := values[max(0, end + 1 - width) : end + 1])]
