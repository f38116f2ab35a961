"""Every metric of an evaluation by the values of a tag, and the base model's pass rate beside it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from honed.errors import DataError
from honed.evaluate import families, graded, heldout, outcome, rates, reliable
from honed.evaluate.outcome import Answer, BaseFloor, Groups, RowLoss, SegmentLoss
from honed.evaluate.rates import SUITE, Rate
from honed.evaluate.stats import SMALLEST
from honed.jobs.job import Job


class Base(NamedTuple):
    """What the base model passes, and its answers by row."""

    floor: BaseFloor
    answers: Mapping[str, Answer]


def groups(
    tag: str,
    answers: Mapping[str, Answer],
    losses: Mapping[str, RowLoss],
    tags: Mapping[str, Mapping[str, str]],
    base: Base | None = None,
) -> Groups:
    """Return all metrics by ``tag``; ``tags`` are those of each row by its id, also where it has no answer."""
    judged = [answer for answer in answers.values() if answer.passed is not None]
    by: dict[str, list[Answer]] = {}
    for answer in judged:
        if tag in answer.tags:
            by.setdefault(answer.tags[tag], []).append(answer)
    cells, small = rates.split({name: rates.rate(bool(one.passed) for one in by[name]) for name in sorted(by)})
    values = {name: graded.graded(by[name]) for name in cells}
    lost, few = _losses(tag, losses, tags, {row: heldout.family(losses[row], answers.get(row)) for row in losses})
    effects = {name: _effect(by[name]) for name in cells}
    return Groups(
        passed=cells,
        guarded={name: rates.rate(map(guarded, by[name])) for name in cells},
        floors={name: _floors(by[name], base) for name in cells},
        values={name: one for name, one in values.items() if one and one.n >= SMALLEST},
        reliable=reliable.within(tag, judged),
        losses=lost,
        small={**few, **small},
        worst=rates.worst(cells, effects),
    )


def worth(tags: Sequence[str], rows: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the tags without that of the suite where all rows are of one: its group would be all rows again."""
    several = len({of_row.get(SUITE, "") for of_row in rows}) > 1
    return [tag for tag in tags if several or tag != SUITE]


def guarded(answer: Answer) -> bool:
    """Return whether an answer passes and isn't vacuous."""
    return bool(answer.passed) and not answer.vacuous


def base(job: Job, data_hash: str, rows: Collection[str]) -> Base:
    """Return what a finished evaluation of the base model passes; ``rows`` are the ids of those that are answered.

    Raises ``DataError`` if it is of other rows.
    """
    found = outcome.result(job.result())
    theirs = outcome.read(Answer, job.path / outcome.SAMPLES)
    if found.data_hash != data_hash or theirs.keys() != set(rows):
        raise DataError(
            f"{job.id} is no evaluation of the same rows: {found.data}, {len(theirs)} answers",
            "Evaluate the base model with the same --data or --suite, --split, --rows and seed.",
        )
    judged = [answer for answer in theirs.values() if answer.passed is not None]
    if not judged:
        raise DataError(f"{job.id}: no row has a verifier", "Leave out 'base': there is no pass rate to stand beside.")
    floor = BaseFloor(
        model=found.model,
        job=job.id,
        rate=rates.rate(bool(answer.passed) for answer in judged),
        guarded=rates.rate(map(guarded, judged)),
        totals=found.suite.totals if found.suite else None,
    )
    return Base(floor, theirs)


def _floors(group: Sequence[Answer], base: Base | None) -> dict[str, Rate]:
    known = [floor for floor in ("constant", "echo") if all(floor in answer.floors for answer in group)]
    found = {floor: rates.rate(answer.floors[floor] for answer in group) for floor in known}
    if base:
        found["base"] = rates.rate(bool(base.answers[answer.row].passed) for answer in group)
    return found


def _effect(answers: Sequence[Answer]) -> float:
    """How many of these rows carry the evidence of one independent row."""
    names = [families.family(answer.tags, answer.prompt) for answer in answers]
    return families.rate_effect([bool(answer.passed) for answer in answers], names)


def _losses(
    tag: str, losses: Mapping[str, RowLoss], tags: Mapping[str, Mapping[str, str]], family: Mapping[str, str]
) -> tuple[dict[str, SegmentLoss], dict[str, int]]:
    cells: dict[str, list[RowLoss]] = {}
    for row, line in losses.items():
        if tag in tags[row]:
            cells.setdefault(tags[row][tag], []).append(line)
    large = {name: _loss(cells[name], family) for name in sorted(cells) if len(cells[name]) >= SMALLEST}
    return large, {name: len(lines) for name, lines in cells.items() if len(lines) < SMALLEST}


def _loss(lines: Sequence[RowLoss], family: Mapping[str, str]) -> SegmentLoss:
    interval = heldout.per_token(lines, family)
    assert interval, "every row that has a loss has a supervised token"
    loss = sum(line.nats for line in lines) / sum(line.tokens for line in lines)
    return SegmentLoss(rows=len(lines), loss=loss, interval=interval)
