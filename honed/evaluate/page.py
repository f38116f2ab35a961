"""What every report shares: its templates, its charts' library, and how it is written as three files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment
from plotly.offline import get_plotlyjs

from honed.evaluate import browse, charts, words
from honed.evaluate.browse import Shown
from honed.look import pages
from honed.store.workspace import write_whole, writing

HTML, MARKDOWN, JSON = "report.html", "report.md", "report.json"
_LONGEST = 60_000  # characters of a Markdown report: a comment on GitHub may have 65,536
_TEXT = 1_500  # characters of a prompt or an answer in it


@dataclass(frozen=True)
class Browser:
    """The rows of a page: all of them in the order to be shown, the models' names, and what the outcomes are called."""

    shown: Sequence[Shown]
    sides: Sequence[Mapping[str, str]]
    fates: Mapping[str, str]


def write(
    folder: Path, template: str, values: Mapping[str, Any], browser: Browser, document: Mapping[str, Any]
) -> Path:
    """Write ``report.html``, ``report.md`` and ``report.json`` into ``folder`` and return the page's path.

    ``template`` is the first part of the templates' names; ``values`` go to both, and have the page's ``title`` and
    its ``charts``. The JSON holds ``document`` and every row, the page as many as it may (``browse.fit``). Raises
    ``StoreError`` if the folder can't be written.
    """
    browsed = browse.fit(browser.shown)
    data = {
        "charts": values["charts"],
        "colours": charts.COLOURS,
        "rows": browsed,
        "sides": list(browser.sides),
        "fates": browser.fates,
    }
    # of one model among several, 'who' is told and 'failed' is its outcome in the browser
    shared = {"who": "", "failed": "failed", **values, "words": words, "colours": charts.COLOURS}
    page = {"data": data, "browsed": len(browsed), "answered": len(browser.shown), "plotly_js": get_plotlyjs()}
    whole = {**document, "rows": [one.document for one in browser.shown]}
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / JSON, json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
        write_whole(folder / MARKDOWN, markdown(f"{template}.md.j2", shared))
        html = _environment(escape=True).get_template(f"{template}.html.j2").render({**shared, **page})
        write_whole(folder / HTML, html)
    return folder / HTML


def markdown(template: str, values: Mapping[str, Any]) -> str:
    """Return a report for a pull request: with fewer ``examples`` than given, or cut, where it would be too long."""
    made = _environment(escape=False).get_template(template)
    examples = list(values.get("examples", ()))
    text = made.render(values)
    while len(text) > _LONGEST and examples:
        examples = examples[: len(examples) // 2]
        text = made.render({**values, "examples": examples})
    if len(text) > _LONGEST:
        whole = text[: text.rindex("\n", 0, _LONGEST)]
        text = f"{whole}\n\nThe rest is in {HTML} and {JSON}: a comment holds no more.\n"
    return text


def _environment(*, escape: bool) -> Environment:
    environment = pages.environment("honed.evaluate", escape=escape)
    environment.filters["fenced"] = _fenced
    environment.filters["inline"] = _inline
    return environment


def _fenced(text: str) -> str:
    """Return text as a Markdown code block that no run of backticks inside can close; a long one is cut."""
    if len(text) > _TEXT:
        text = f"{text[:_TEXT]}\n… {len(text) - _TEXT:,} characters more"
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _inline(text: str) -> str:
    """Return text for a Markdown cell or line: on one line, nothing in it means anything, and a long one is cut."""
    line = " ".join(text.split())
    return pages.inline(line if len(line) <= _TEXT else f"{line[:_TEXT]} … {len(line) - _TEXT:,} characters more")
