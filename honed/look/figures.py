"""How charts look on honed's pages: colours of both themes, the frame, axes. Figures are plotly's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

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

_LIGHT = {role: light for role, (light, _) in COLOURS.items()}


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


def plain(figure: Any) -> dict[str, Any]:
    """Return a figure as JSON values."""
    return dict(json.loads(figure.to_json()))
