"""One evaluation as three files: its scores beside the floors, where it fails, and every row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from honed.evaluate import browse, charts, examples, page, summary, vacuous, words
from honed.evaluate.compare import Evaluation
from honed.evaluate.errors import analysis
from honed.evaluate.errors.analysis import Errors
from honed.evaluate.outcome import Outcome, Rate
from honed.evaluate.page import Browser
from honed.evaluate.suites.result import Followed

FATES = {"failed": "fails", "passed": "passes", "unverified": "no verifier"}
RULE = "Chosen by a rule, not by hand: tasks take turns, and within a task the row whose id sorts first is taken."
_EXAMPLES = 5


def write(folder: Path, evaluation: Evaluation, *, tags: Sequence[str] = (), next_commands: Sequence[str] = ()) -> Path:
    """Write ``report.html``, ``report.md`` and ``report.json`` into ``folder`` and return the page's path.

    ``tags`` are those that failures are grouped by, by default the evaluation's own. Raises ``StoreError`` if the
    folder can't be written.
    """
    outcome = evaluation.outcome
    told = analysis.tell(evaluation, tags)
    errors = analysis.analyse(evaluation, tags=tags, told=told)
    whole = (
        Rate(passed=outcome.passed, n=outcome.n, rate=outcome.pass_rate, interval=outcome.interval)
        if (outcome.pass_rate is not None and outcome.interval is not None)
        else None
    )
    shown = examples.order(browse.rows([evaluation], told, _fates), tuple(FATES))
    values = {
        "title": f"{outcome.model} on {outcome.data}",
        "outcome": outcome,
        "evaluation": evaluation.job,
        "whole": whole,
        "headline": headline(outcome),
        "verdicts": verdicts(outcome, errors),
        "examples": [one.document for one in shown if one.fate == "failed"][:_EXAMPLES],
        "rule": RULE,
        "tags": [tag for tag, group in outcome.groups.items() if group.passed or group.small],
        "measured": summary.lines(outcome),
        "levels": summary.levels(outcome.suite, outcome.base.totals if outcome.base else None) if outcome.suite else [],
        "table": summary.table(outcome),
        "columns": summary.COLUMNS,
        "table_note": summary.NOTE,
        "instructions": _instructions(outcome),
        "guard": vacuous.RULE,
        "errors": errors,
        "failing": "The model",
        "next_commands": next_commands,
        "charts": _charts(outcome, whole),
    }
    browser = Browser(shown=shown, sides=[{"role": "tuned", "name": outcome.model}], fates=FATES)
    document = {
        "headline": values["headline"],
        "verdicts": values["verdicts"],
        "evaluation": evaluation.job,
        "outcome": outcome.model_dump(mode="json"),
        "errors": errors.model_dump(mode="json"),
        "next_commands": list(next_commands),
    }
    return page.write(folder, "single", values, browser, document)


def headline(outcome: Outcome) -> str:
    """Return the one sentence that the report of an evaluation opens with."""
    if outcome.pass_rate is None or outcome.interval is None:
        if outcome.loss is None:
            return f"Nothing could be measured on these {outcome.rows} rows: none has a verifier or a loss."
        return f"The held-out loss is {outcome.loss:.3f} nats per token; no row has a verifier."
    share = f"{words.percent(outcome.pass_rate)} of {outcome.n} instructions"
    return f"The model passes {share} (95{words.GAP}% interval {words.span(outcome.interval)})."


def verdicts(outcome: Outcome, errors: Errors) -> list[str]:
    """Return the sentences below it: against which floor, for whom worst, where it fails, the loss."""
    said = []
    if outcome.floors and outcome.interval:
        rates = {"constant": outcome.floors.constant.rate, "echo": outcome.floors.echo.rate}
        name = max(rates, key=lambda floor: rates[floor])
        beats = "above" if outcome.interval.low > rates[name] else "not clearly above"
        said.append(f"It is {beats} the higher floor, {words.FLOORS[name]} ({words.percent(rates[name])}).")
    if outcome.base:
        share = f"{words.percent(outcome.base.rate.rate)} ({words.span(outcome.base.rate.interval)})"
        said.append(f"The base model {outcome.base.model} passes {share} of the same rows.")
    if outcome.guarded and outcome.guarded.passed != outcome.passed:
        said.append(
            f"Guarded, that is by answers that aren't vacuous, it passes {words.percent(outcome.guarded.rate)}."
        )
    said += [
        f"It passes least often for {words.behind(tag, one.worst)}." for tag, one in outcome.groups.items() if one.worst
    ]
    if errors.failed and errors.failed.passed and errors.shown:
        named = ", ".join(f"{one.kind} {one.title}" for one in errors.shown[:3])
        said.append(f"It is shown to fail more often than elsewhere: {named}.")
    if outcome.pass_rate is not None and outcome.loss is not None:
        said.append(f"Held-out loss: {outcome.loss:.3f} nats per supervised token, on {outcome.loss_rows} rows.")
    return said


def _instructions(outcome: Outcome) -> list[tuple[str, Followed]]:
    if outcome.suite is None:
        return []
    return sorted(outcome.suite.instructions.items(), key=lambda item: (item[1].strict.rate, item[0]))


def _charts(outcome: Outcome, whole: Rate | None) -> dict[str, object]:
    if whole is None:
        return {}
    figures: dict[str, object] = {}
    for tag, group in outcome.groups.items():
        ordered = sorted(group.passed.items(), key=lambda item: -item[1].rate)
        cells = [(name, (cell,)) for name, cell in ordered]
        if cells:
            first = [] if figures else [("all rows", (whole,))]
            figures[tag] = charts.rates([*first, *cells], ["tuned"], [outcome.model])
    return figures or {"all": charts.rates([("all rows", (whole,))], ["tuned"], [outcome.model])}


def _fates(passed: Sequence[bool | None]) -> tuple[str, ...]:
    (only,) = passed
    return ("unverified" if only is None else "passed" if only else "failed",)
