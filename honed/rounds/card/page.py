"""A data card as two files: Markdown for a repository, and one HTML page that needs no network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment
from plotly.offline import get_plotlyjs

from honed.evaluate import charts, words
from honed.look import pages
from honed.rounds.card import chart, facts
from honed.rounds.card.facts import Card
from honed.store.workspace import write_whole, writing

HTML, MARKDOWN = "card.html", "card.md"
_KNOWN = re.compile(r"[a-z0-9][a-z0-9.-]*")


def write(folder: Path, card: Card) -> list[Path]:
    """Write ``card.md`` and ``card.html`` into ``folder``; return their paths. Raises ``StoreError`` if it can't be."""
    shared = {"card": card, "words": words, "made": facts.made, "said": sentences(card), "lengths": _lengths(card)}
    having = {tag: sum(count.total() for count in cells.values()) for tag, cells in card.scan.by.items()}
    page = {"having": having, "charts": chart.figures(card), "colours": charts.COLOURS, "plotly_js": get_plotlyjs()}
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        html = _environment(escape=True).get_template("card.html.j2").render({**shared, **page})
        write_whole(folder / HTML, html)
        markdown = _environment(escape=False).get_template("card.md.j2").render({**shared, "licence": _one(card)})
        write_whole(folder / MARKDOWN, markdown)
    return [folder / MARKDOWN, folder / HTML]


def sentences(card: Card) -> list[str]:
    """Return what a reader has to know first: what it is, how it was made, under which licences."""
    found = card.facts
    more = [f"{found[part]:,} {part}" for part in ("preferences", "ratings") if found.get(part)]
    way = facts.made(card.dataset)
    said = [f"{way[:1].upper()}{way[1:]}{'; with ' + ' and '.join(more) if more else ''}."]
    by: dict[str, list[str]] = {}
    for source, licence in card.licences.items():
        by.setdefault(licence, []).append(source)
    said.append("Licence: " + "; ".join(f"{licence} ({', '.join(names)})" for licence, names in by.items()) + ".")
    if left := sum(found.get("dropped", {}).values()):
        said.append(f"{left:,} rows were left out on the way here, each with its reason.")
    return [*said, *(f"Trial, trained from {one.base}: {one.words[0]}" for one in card.trials)]


def _lengths(card: Card) -> dict[str, dict[str, int]]:
    """Return the quantiles of lengths in words."""
    found = {}
    for name, lengths in (("prompt", card.scan.prompts), ("answer", card.scan.answers)):
        marks = np.percentile(lengths, [5, 50, 95, 100]).round().astype(int).tolist() if len(lengths) else [0] * 4
        found[name] = dict(zip(("low", "median", "high", "most"), marks, strict=True))
    return found


def _one(card: Card) -> str:
    """Return the licence's name for the head of a hub's README: ``other`` where there are several, or a sentence."""
    (first, *others) = dict.fromkeys(card.licences.values())
    return first if not others and _KNOWN.fullmatch(first) else "other"


def _environment(*, escape: bool) -> Environment:
    environment = pages.environment("honed.rounds.card", escape=escape)
    environment.filters["number"] = _number
    return environment


def _number(value: Any) -> str:
    return f"{value:,}"
