"""The map and what stands beside it as plotly figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape  # plotly reads a few tags in its texts; what rows say is data
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from honed.data.map.coverage import Coverage, Part, Region
from honed.look.figures import COLOURS, axis, frame, plain, title

HUES: Mapping[str, tuple[str, str]] = {
    "hue0": ("#3f7fd0", "#7fb2f7"),
    "hue1": ("#1f9d86", "#56d0b8"),
    "hue2": ("#8763c5", "#bb9ff2"),
    "hue3": ("#6d9a2f", "#a6d36a"),
    "hue4": ("#c25a94", "#f19cc9"),
    "hue5": ("#2d93b3", "#70c9e6"),
    "hue6": ("#a8822c", "#dcbd6b"),
    "hue7": ("#6b7d92", "#a4b5c8"),
    "halo": ("rgba(255,255,255,0.7)", "rgba(20,23,27,0.7)"),
}
"""(light, dark) of the regions' colours, which only tell neighbours apart; what is thin is orange, as ``base`` is."""

_LIGHT = {role: light for role, (light, _) in {**COLOURS, **HUES}.items()}
_COUNT = 8
_HEIGHT = 680
_BAR_PIXELS = 26
_LABEL = (0.012, 0.032)
"""Half a letter's width, and a label's height, as shares of the map's."""


class Dot(NamedTuple):
    """A row on the plane, its region's number, and the beginning of its prompt."""

    x: float
    y: float
    region: int
    prompt: str


def figures(found: Coverage, dots: Sequence[Dot]) -> dict[str, dict[str, Any]]:
    """Return the charts of a map's page by name."""
    made = {"map": _map(found.regions, dots), "regions": _bars([region.part for region in found.regions])}
    made["kinds"] = _bars(found.kinds)
    made["answers"] = _columns(found.answers)
    return made


def _map(regions: Sequence[Region], dots: Sequence[Dot]) -> dict[str, Any]:
    figure = go.Figure()
    hues = _hues(regions)
    size = float(np.clip(250 / max(1, len(dots)) ** 0.5, 4, 9))
    for number, region in enumerate(regions):
        here = [dot for dot in dots if dot.region == number]
        ring = {"color": _LIGHT["base"], "width": 1.2} if region.part.thin else {"width": 0}
        figure.add_scatter(
            x=[round(dot.x, 2) for dot in here],
            y=[round(dot.y, 2) for dot in here],
            mode="markers",
            marker={"size": size, "color": _LIGHT[hues[number]], "opacity": 0.62, "line": ring},
            text=[_wrapped(dot.prompt) for dot in here],
            hovertemplate=f"<b>{escape(region.part.name)}</b><br>%{{text}}<extra></extra>",
        )
    figure.update_layout(**{**frame(_HEIGHT), "margin": {"l": 0, "r": 0, "t": 0, "b": 0}}, showlegend=False)
    bare = {"visible": False, "fixedrange": False}
    figure.update_layout(xaxis=bare, yaxis=bare, hovermode="closest", dragmode="pan")
    for (x, y), region in zip(_places(regions, dots), regions, strict=True):
        colour = _LIGHT["base"] if region.part.thin else _LIGHT["ink"]
        text = f"<b>{escape(region.part.name)}</b>"
        figure.add_annotation(
            x=x,
            y=y,
            text=text,
            showarrow=False,
            font={"size": 12, "color": colour},
            bgcolor=_LIGHT["halo"],
            borderpad=2,
        )
    return plain(figure)


def _hues(regions: Sequence[Region]) -> list[str]:
    """Give each region a colour that none near it has."""
    chosen: list[str] = []
    for region in regions:
        away = []
        for hue in range(_COUNT):
            same = [other for other, name in zip(regions, chosen, strict=False) if name == f"hue{hue}"]
            away.append(min(((region.x - one.x) ** 2 + (region.y - one.y) ** 2 for one in same), default=1e9))
        chosen.append(f"hue{int(np.argmax(away))}")
    return chosen


def _places(regions: Sequence[Region], dots: Sequence[Dot]) -> list[tuple[float, float]]:
    """Return where each region's name stands: at its middle, moved up or down until no two names touch."""
    if not dots:
        return [(region.x, region.y) for region in regions]
    plan = np.array([(dot.x, dot.y) for dot in dots])
    low, span = plan.min(axis=0), np.maximum(np.ptp(plan, axis=0), 1e-9)
    at = (np.array([(region.x, region.y) for region in regions]) - low) / span
    half = np.array([_LABEL[0] * len(region.part.name) / 2 for region in regions])
    at[:, 0] = np.clip(at[:, 0], half, 1 - half)
    for _ in range(200):
        moved = False
        for one in range(len(at)):
            for other in range(one):
                gap = at[one] - at[other]
                if abs(gap[0]) < half[one] + half[other] and abs(gap[1]) < _LABEL[1]:
                    push = (_LABEL[1] - abs(gap[1])) / 2 + 1e-4
                    way = 1.0 if gap[1] >= 0 else -1.0
                    at[one, 1] += way * push
                    at[other, 1] -= way * push
                    moved = True
        if not moved:
            break
    return [(float(x), float(y)) for x, y in at * span + low]


def _bars(parts: Sequence[Part]) -> dict[str, Any]:
    """A line a part, the largest on top; the target's share as a mark."""
    places = list(range(len(parts)))[::-1]
    figure = go.Figure()
    figure.add_bar(
        x=[100 * part.share for part in parts],
        y=places,
        orientation="h",
        marker={"color": [_LIGHT["base" if part.thin else "tuned"] for part in parts]},
        text=[f"{part.rows:,}" for part in parts],
        textposition="outside",
        cliponaxis=False,
        textfont={"size": 11, "color": _LIGHT["soft"]},
        hovertext=[
            f"{escape(part.name)}: {part.rows:,} rows{', ' + escape(part.thin) if part.thin else ''}" for part in parts
        ],
        hoverinfo="text",
        width=0.7,
    )
    if any(part.target_share is not None for part in parts):
        figure.add_scatter(
            x=[100 * (part.target_share or 0.0) for part in parts],
            y=places,
            mode="markers",
            marker={"symbol": "line-ns", "size": 15, "line": {"color": _LIGHT["ink"], "width": 2.5}},
            hovertemplate="target: %{x:.1f} %<extra></extra>",
        )
    figure.update_layout(
        **frame(46 + _BAR_PIXELS * len(parts)),
        showlegend=False,
        bargap=0.3,
        xaxis={**axis(), "ticksuffix": " %", "rangemode": "tozero"},
        yaxis={**axis(), "tickvals": places, "ticktext": [escape(part.name) for part in parts], "showgrid": False},
    )
    return plain(figure)


def _columns(parts: Sequence[Part]) -> dict[str, Any]:
    figure = go.Figure()
    names = [escape(part.name.removesuffix(" words").replace(" to ", "–")) for part in parts]
    figure.add_bar(
        x=names,
        y=[100 * part.share for part in parts],
        marker={"color": [_LIGHT["base" if part.thin else "tuned"] for part in parts]},
        text=[f"{part.rows:,}" for part in parts],
        textposition="outside",
        cliponaxis=False,
        textfont={"size": 11, "color": _LIGHT["soft"]},
        hoverinfo="skip",
    )
    figure.update_layout(
        **frame(300),
        showlegend=False,
        bargap=0.25,
        xaxis={**axis(), "type": "category", "title": title("words of the answer"), "showgrid": False},
        yaxis={**axis(), "ticksuffix": " %"},
    )
    return plain(figure)


def _wrapped(text: str) -> str:
    """Return a prompt in lines that fit beside the pointer."""
    lines: list[str] = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > 60 and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(escape(line) for line in lines)
