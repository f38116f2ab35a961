"""A comparison as three files: one HTML page that needs no network, Markdown for a pull request, and JSON.

What models and rows say is data: the page escapes it, Markdown fences it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from honed.evaluate import charts, examples, gains, vacuous, words
from honed.evaluate.compare import Comparison, Pair
from honed.evaluate.curve import Curve
from honed.evaluate.outcome import Outcome
from honed.records import Record
from honed.store.workspace import write_whole, writing

HTML, MARKDOWN, JSON = "report.html", "report.md", "report.json"
_EXAMPLES = 10
_BROWSED = 1000  # rows in the page's browser; a larger evaluation shows that many, chosen by the examples' rule


class Stage(Record):
    """What one stage of the work ran on and cost. ``ran`` is shown as it is: device, precision, machine, rows ..."""

    seconds: float
    peak_rss_bytes: int
    ran: Mapping[str, str] = {}


def stages_of(comparison: Comparison) -> dict[str, Stage]:
    """Return the two evaluations as stages."""
    return {
        f"evaluate the {side} model": _evaluation(outcome)
        for side, outcome in (("base", comparison.base), ("tuned", comparison.tuned))
    }


def write(
    folder: Path,
    comparison: Comparison,
    *,
    samples: Sequence[Pair],
    curve: Curve | None = None,
    stages: Mapping[str, Stage],
    next_commands: Sequence[str],
) -> Path:
    """Write ``report.html``, ``report.md`` and ``report.json`` into ``folder`` and return the page's path.

    ``samples`` are the pairs of answers (``compare.pairs``), ``curve`` the losses of the training, ``stages`` what
    each stage ran on, in the order to be shown. Raises ``StoreError`` if the folder can't be written.
    """
    shared = {
        "comparison": comparison,
        "headline": words.headline(comparison),
        "verdicts": words.verdicts(comparison),
        "examples": examples.pick(samples, _EXAMPLES),
        "rule": examples.RULE,
        "fates": examples.FATES,
        "answered": len(samples),
        "stages": stages,
        "next_commands": next_commands,
        "tags": [tag for tag in comparison.segments if comparison.segments[tag] or comparison.small[tag]],
        "guard": vacuous.RULE,
        "words": words,
        "gains": gains,
    }
    page = {
        "curve": curve,
        "charts": _charts(comparison, curve),
        "colours": charts.COLOURS,
        "browsed": [_row(pair) for pair in examples.pick(samples, _BROWSED)],
        "plotly_js": get_plotlyjs(),
    }
    document = {
        "headline": shared["headline"],
        "verdicts": shared["verdicts"],
        "comparison": comparison.model_dump(mode="json"),
        "stages": {name: stage.model_dump(mode="json") for name, stage in stages.items()},
        "curve": curve.model_dump(mode="json") if curve else None,
        "next_commands": list(next_commands),
    }
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / JSON, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        write_whole(folder / MARKDOWN, _environment(escape=False).get_template("report.md.j2").render(shared))
        html = _environment(escape=True).get_template("report.html.j2").render({**shared, **page})
        write_whole(folder / HTML, html)
    return folder / HTML


def _environment(*, escape: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("honed.evaluate"),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["fenced"] = _fenced
    environment.filters["inline"] = _inline
    return environment


def _charts(comparison: Comparison, curve: Curve | None) -> dict[str, object]:
    figures: dict[str, object] = {}
    if comparison.overall:
        whole = comparison.overall.model_copy(update={"name": "all rows"})
        for tag in comparison.segments:
            ordered = sorted(comparison.segments[tag], key=lambda segment: -segment.difference)
            if ordered:
                figures[tag] = charts.pass_rates([whole, *ordered] if not figures else ordered)
        if not figures:
            figures["all"] = charts.pass_rates([whole])
    if curve and curve.train:
        figures["loss"] = charts.losses(curve)
    return figures


def _row(pair: Pair) -> dict[str, object]:
    """A row as the page's browser reads it."""
    return {**pair.model_dump(mode="json"), "fate": pair.fate}


def _evaluation(outcome: Outcome) -> Stage:
    ran = {
        "model": outcome.model,
        "device": outcome.device,
        "precision": outcome.precision,
        "batch size": str(outcome.batch_size),
        "answers": str(outcome.answers),
    }
    if outcome.tokens_per_second:
        ran["generated tokens/s"] = f"{outcome.tokens_per_second:.0f}"
    return Stage(seconds=outcome.seconds, peak_rss_bytes=outcome.peak_rss_bytes, ran=ran)


def _fenced(text: str) -> str:
    """Return text as a Markdown code block that no run of backticks inside can close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _inline(text: str) -> str:
    """Return text for a Markdown table cell or line: on one line, and nothing in it means anything."""
    return re.sub(r"([\\`*_{}\[\]<>|#!&])", r"\\\1", " ".join(text.split()))
