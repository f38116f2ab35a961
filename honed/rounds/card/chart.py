"""The charts of a data card, in the style of the evaluation report."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import plotly.graph_objects as go

from honed.evaluate import charts
from honed.rounds.card import facts
from honed.rounds.card.facts import Card

_LIGHT = {role: light for role, (light, _) in charts.COLOURS.items()}
_BAR = 27
_MOST = 12
_LONGEST = 28


def figures(card: Card) -> dict[str, dict[str, Any]]:
    """Return the charts that there is something to show for: ``length``, ``language``, and a tag each.

    ``verb`` takes the place of tasks where no row has the tag ``task``.
    """
    made = {}
    if len(card.scan.answers):
        made["length"] = _lengths(card)
    for tag in facts.COUNTED:
        cells = card.scan.by.get(tag, {})
        if len(cells) > 1:
            made[tag] = _bars({value: (count["train"], count["heldout"]) for value, count in cells.items()})
    if "task" not in card.scan.by and len(card.scan.verbs) > 1:
        made["verb"] = _bars({name: (count, 0) for name, count in card.scan.verbs.items()})
    if card.scan.languages:
        made["language"] = _bars({name: (count, 0) for name, count in card.scan.languages.items()})
    return made


def _lengths(card: Card) -> dict[str, Any]:
    figure = go.Figure()
    for role, name, lengths in (("base", "prompts", card.scan.prompts), ("tuned", "answers", card.scan.answers)):
        bounds, counts = facts.histogram(lengths)
        # a step function: each band's count from its lower bound on, and down to zero after the last
        figure.add_scatter(
            x=[bounds[0], *bounds],
            y=[0, *counts, 0],
            name=name,
            mode="lines",
            line={**charts.line(role, 2.5), "shape": "hv"},
            fill="tozeroy",
            fillcolor=_faint(role),
            hovertemplate=f"{name} of %{{x:.0f}} words and more: %{{y:,}}<extra></extra>",
        )
    figure.update_layout(
        **charts.frame(300),
        showlegend=False,
        xaxis={
            **charts.axis(),
            "type": "log",
            "title": charts.title("words (logarithmic)"),
            "tickvals": [2**at for at in range(17)],
            "ticktext": [f"{2**at:,}" for at in range(17)],
        },
        yaxis={**charts.axis(), "title": charts.title("rows"), "rangemode": "tozero"},
    )
    return charts.plain(figure)


def _faint(role: str) -> str:
    red, green, blue = (int(_LIGHT[role][at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.14)"


def _bars(cells: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """Return one bar a value, the largest on top: training rows, then held-out ones."""
    ordered = sorted(cells, key=lambda value: (-sum(cells[value]), value))
    named = [(value, cells[value]) for value in ordered[:_MOST]]
    if rest := ordered[_MOST:]:
        sums = sum(cells[value][0] for value in rest), sum(cells[value][1] for value in rest)
        named.append((f"{len(rest):,} more", sums))
    places = list(range(len(named)))[::-1]
    whole = sum(map(sum, cells.values()))
    figure = go.Figure()
    for at, (role, name) in enumerate((("tuned", "training"), ("base", "held out"))):
        if any(counts[at] for _, counts in named):
            figure.add_bar(
                x=[counts[at] for _, counts in named],
                y=places,
                orientation="h",
                name=name,
                marker={"color": _LIGHT[role], "line": {"width": 0}},
                hovertemplate=f"{name}: %{{x:,}} rows<extra></extra>",
            )
    figure.add_scatter(
        x=[sum(counts) for _, counts in named],
        y=places,
        text=[f" {sum(counts):,} · {_share(sum(counts), whole)}" for _, counts in named],
        mode="text",
        textposition="middle right",
        textfont={"color": _LIGHT["soft"], "size": 12},
        hoverinfo="skip",
        cliponaxis=False,
    )
    widest = max(sum(counts) for _, counts in named)
    figure.update_layout(
        **charts.frame(34 + _BAR * len(named)),
        barmode="stack",
        bargap=0.34,
        showlegend=False,
        xaxis={**charts.axis(), "range": [0, 1.32 * widest], "showgrid": False, "showticklabels": False},
        yaxis={
            **charts.axis(),
            "tickvals": places,
            "ticktext": [escape(_short(value)) for value, _ in named],
            "range": [-0.6, len(named) - 0.4],
            "showgrid": False,
            "tickfont": {"color": _LIGHT["ink"]},
        },
    )
    return charts.plain(figure)


def _share(count: int, whole: int) -> str:
    share = 100 * count / whole
    return f"{share:.0f} %" if share >= 1 else "< 1 %"


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"
