"""A comparison as three files: one HTML page that needs no network, Markdown for a pull request, and JSON.

What models and rows say is data: the page escapes it, Markdown fences it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from honed.evaluate import browse, charts, compare, details, examples, gains, page, vacuous, words
from honed.evaluate.compare import Comparison, Evaluation
from honed.evaluate.curve import Curve
from honed.evaluate.errors import analysis
from honed.evaluate.outcome import Outcome
from honed.evaluate.page import Browser
from honed.records import Record

_EXAMPLES = 10


class Stage(Record):
    """What one stage of the work ran on and cost. ``ran`` is shown as it is: device, precision, machine, rows ..."""

    seconds: float
    peak_rss_bytes: int
    ran: Mapping[str, str] = {}


def stages_of(comparison: Comparison) -> dict[str, Stage]:
    """Return the two evaluations as stages."""
    return {
        f"evaluate the {side} model": stage(outcome)
        for side, outcome in (("base", comparison.base), ("tuned", comparison.tuned))
    }


def write(
    folder: Path,
    comparison: Comparison,
    evaluations: tuple[Evaluation, Evaluation],
    *,
    curve: Curve | None = None,
    stages: Mapping[str, Stage],
    next_commands: Sequence[str],
) -> Path:
    """Write ``report.html``, ``report.md`` and ``report.json`` into ``folder`` and return the page's path.

    ``evaluations`` are those that were compared, ``curve`` the losses of the training, ``stages`` what each stage ran
    on, in the order to be shown. Raises ``StoreError`` if the folder can't be written.
    """
    base, tuned = evaluations
    tags = list(comparison.segments)
    told = analysis.tell(tuned, tags)
    errors = analysis.analyse(tuned, base, tags, told)
    samples = compare.pairs(base, tuned)
    by_row = {one.row: one for one in browse.rows(evaluations, told, _fates)}
    values = {
        "title": f"{comparison.tuned.model} against {comparison.base.model}",
        "comparison": comparison,
        "headline": words.headline(comparison),
        "verdicts": words.verdicts(comparison),
        "examples": examples.pick(samples, _EXAMPLES),
        "rule": examples.RULE,
        "fates": examples.FATES,
        "stages": stages,
        "next_commands": next_commands,
        "tags": [tag for tag in comparison.segments if comparison.segments[tag] or comparison.small[tag]],
        "guard": vacuous.RULE,
        "gains": gains,
        "details": details.lines(comparison),
        "details_legend": details.LEGEND,
        "errors": errors,
        "failing": "The tuned model",
        "curve": curve,
        "charts": _charts(comparison, curve),
    }
    browser = Browser(
        shown=[by_row[pair.row] for pair in examples.pick(samples, len(samples))],
        sides=[{"role": side, "name": side} for side in ("base", "tuned")],
        fates={**examples.FATES, "failed": "the tuned model fails"},
    )
    document = {
        "headline": values["headline"],
        "verdicts": values["verdicts"],
        "comparison": comparison.model_dump(mode="json"),
        "errors": errors.model_dump(mode="json"),
        "stages": {name: stage.model_dump(mode="json") for name, stage in stages.items()},
        "curve": curve.model_dump(mode="json") if curve else None,
        "next_commands": list(next_commands),
    }
    return page.write(folder, "report", values, browser, document)


def stage(outcome: Outcome) -> Stage:
    """Return an evaluation as a stage."""
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


def _fates(passed: Sequence[bool | None]) -> tuple[str, ...]:
    before, after = passed
    return (compare.fate(before, after), *(["failed"] if after is False else []))
