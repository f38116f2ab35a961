"""Error analysis: what a model fails at, for which rows and why, and what kind of rows would help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from honed.errors import DataError
from honed.evaluate import words
from honed.evaluate.compare import Evaluation
from honed.evaluate.errors import clusters, facets, reasons, wanted, wording
from honed.evaluate.errors.clusters import Cluster
from honed.evaluate.errors.facets import Told
from honed.evaluate.errors.reasons import Reason
from honed.evaluate.errors.wording import Wording
from honed.evaluate.outcome import SEGMENTS
from honed.evaluate.rates import Rate, rate
from honed.evaluate.suites.chosen import in_full
from honed.records import Record, RowsWanted
from honed.store.workspace import write_whole, writing

FILE = "errors.json"
LANGUAGES = 2000
"""Rows up to which the language of each prompt is told; with more, rows need the tag ``language``."""


class Errors(Record):
    """What an error analysis found in one evaluation, perhaps beside another one (``against``) of the same rows.

    ``failed`` is of verified rows; ``small`` are groups of too few rows to say anything, with their sizes; ``said``
    are sentences, ``notes`` what could not be looked at.
    """

    model: str
    evaluation: str
    against: str
    failed: Rate | None
    clusters: tuple[Cluster, ...]
    small: Mapping[str, Mapping[str, int]]
    reasons: tuple[Reason, ...]
    wording: Wording | None
    headline: str
    said: tuple[str, ...]
    notes: tuple[str, ...]
    rows_wanted: RowsWanted

    @property
    def shown(self) -> tuple[Cluster, ...]:
        """The groups that are shown to fail more often than the rest."""
        return tuple(one for one in self.clusters if one.shown)


def analyse(
    evaluation: Evaluation, against: Evaluation | None = None, tags: Sequence[str] = (), told: Sequence[Told] = ()
) -> Errors:
    """Look for where the failures of an evaluation gather. ``tags`` are grouped by, by default the evaluation's own.

    ``told`` are the rows as ``facets.tell`` gives them, where the caller has them already. Raises ``DataError`` if the
    two evaluations are of other rows.
    """
    told = told or tell(evaluation, tags)
    before = _before(evaluation, against) if against else {}
    found, small = clusters.find(told, before) if told else ([], {})
    failed = rate(one.failed for one in told) if told else None
    ask = wanted.find(found, told)
    outcome = evaluation.outcome
    return Errors(
        model=outcome.model,
        evaluation=evaluation.job,
        against=against.job if against else "",
        failed=failed,
        clusters=tuple(found),
        small=small,
        reasons=tuple(reasons.find(told)),
        wording=wording.find(told) if told else None,
        headline=_headline(failed, found),
        said=tuple(wanted.sentences(ask, found, outcome.max_tokens)),
        notes=tuple(_notes(told)),
        rows_wanted=RowsWanted(
            model=outcome.model,
            evaluation=evaluation.job,
            data=in_full(outcome.data),
            data_hash=outcome.data_hash,
            split=outcome.split,
            rule=wanted.RULE,
            caution=wanted.CAUTION,
            wanted=tuple(ask),
        ),
    )


def tell(evaluation: Evaluation, tags: Sequence[str] = ()) -> list[Told]:
    """Return the verified rows of an evaluation with the groups that they are in."""
    tags = tags or list(evaluation.outcome.segments) or SEGMENTS
    answers = [evaluation.answers[row] for row in sorted(evaluation.answers)]
    return facets.tell(answers, tags, languages=len(answers) <= LANGUAGES)


def write(folder: Path, found: Errors) -> Path:
    """Write what rows are wanted as ``errors.json`` into ``folder`` and return its path."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / FILE, found.rows_wanted.model_dump_json(indent=2) + "\n")
    return folder / FILE


def _before(evaluation: Evaluation, against: Evaluation) -> dict[str, bool]:
    before = {row: answer.passed for row, answer in against.answers.items() if answer.passed is not None}
    mine = {row for row, answer in evaluation.answers.items() if answer.passed is not None}
    if before.keys() != mine:
        raise DataError(
            f"{against.job} has other verified rows than {evaluation.job}: {len(before.keys() ^ mine)} differ",
            "Evaluate both models on the same --data, --split and --rows, with the same seed.",
        )
    return before


def _headline(failed: Rate | None, found: Sequence[Cluster]) -> str:
    if failed is None:
        return "No row has a verifier: there is nothing to say of failures."
    share = f"{words.percent(failed.rate)}, interval {words.span(failed.interval)}"
    said = f"{failed.passed} of {failed.n} verified rows fail ({share})"
    if not failed.passed:
        return f"{said}: there is nothing to cluster."
    shown = [one for one in found if one.shown]
    if not shown:
        looked = f"of {len(found)} groups none is" if found else "there are too few rows for groups"
        return f"{said}; {looked} shown to fail more often than the rest." if found else f"{said}; {looked}."
    named = ", ".join(f"{one.kind} {one.title}" for one in shown[:3])
    more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
    return f"{said}, more often than the rest: {named}{more}."


def _notes(told: Sequence[Told]) -> list[str]:
    notes = []
    if bare := sum(one.answer.check is None for one in told):
        notes.append(f"{bare} answers are of an evaluation that kept no checks: evaluate again for their constraints.")
    if len(told) > LANGUAGES and not any("language" in one.answer.tags for one in told):
        notes.append(f"With more than {LANGUAGES:,} rows languages are read from the tag 'language' only; none has it.")
    return notes
