"""The report's charts as plotly figures. Colours are the light theme's; the page swaps them for the dark one's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape  # plotly reads a few tags in its texts; a group's name is data
from typing import Any

import plotly.graph_objects as go

from honed.evaluate import words
from honed.evaluate.curve import Curve
from honed.evaluate.outcome import Rate
from honed.evaluate.segment import Segment

COLOURS: Mapping[str, tuple[str, str]] = {
    "base": ("#b85c00", "#f0a03c"),
    "tuned": ("#0068a8", "#5ab8f0"),
    "third": ("#00705a", "#4fd1ae"),
    "fourth": ("#9b2d86", "#e58fd0"),
    "fifth": ("#5f5b00", "#d6d04a"),
    "sixth": ("#7a4b3a", "#d9a58f"),
    "floor": ("#6b7178", "#9aa3ad"),
    "ink": ("#1b1f24", "#e8eaed"),
    "soft": ("#586069", "#a7b0ba"),
    "rule": ("#d9dde2", "#353c45"),
}
"""(light, dark) of each role: orange against blue, which every common colour blindness keeps apart, then four more."""
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
        figure.add_scatter(
            x=[100 * segment.floors[floor].rate for segment in segments],
            y=places,
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


def frame(height: int) -> dict[str, Any]:
    """Return the layout that every chart of a page shares; ``height`` is in pixels."""
    return {
        "template": "none",
        "height": height,
        "margin": {"l": 10, "r": 16, "t": 8, "b": 40},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": _LIGHT["ink"]},
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1,
            "xanchor": "left",
            "yanchor": "bottom",
            "traceorder": "reversed",
        },
        "hoverlabel": {"font": {"family": "system-ui, sans-serif"}},
    }


def axis() -> dict[str, Any]:
    """Return an axis in the page's style."""
    return {
        "automargin": True,
        "gridcolor": _LIGHT["rule"],
        "linecolor": _LIGHT["rule"],
        "zeroline": False,
        "fixedrange": True,
        "tickfont": {"color": _LIGHT["soft"]},
    }


def title(text: str) -> dict[str, Any]:
    """Return an axis' title."""
    return {"text": text, "font": {"size": 13, "color": _LIGHT["soft"]}}


def line(role: str, width: float) -> dict[str, Any]:
    """Return a line in the colour of a role; ``width`` is in pixels."""
    return {"color": _LIGHT[role], "width": width}


def plain(figure: go.Figure) -> dict[str, Any]:
    """Return a figure as JSON values."""
    return dict(json.loads(figure.to_json()))
