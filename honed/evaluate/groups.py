"""Every metric of an evaluation by the values of a tag, and the base model's pass rate beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from honed.errors import DataError
from honed.evaluate import families, outcome, rates, stats
from honed.evaluate.outcome import Answer, BaseFloor, Groups, RowLoss, SegmentLoss
from honed.evaluate.stats import SMALLEST
from honed.jobs.job import Job


def groups(
    tag: str, answers: Mapping[str, Answer], losses: Mapping[str, RowLoss], tags: Mapping[str, Mapping[str, str]]
) -> Groups:
    """Return all metrics by ``tag``; ``tags`` are those of each row by its id, also where it has no answer."""
    judged = {row: answer for row, answer in answers.items() if answer.passed is not None}
    cells, small = rates.split(_rates(tag, judged, guarded=False))
    every = _rates(tag, judged, guarded=True)
    lost, few = _losses(tag, losses, tags)
    effects = {name: _effect([one for one in judged.values() if one.tags.get(tag) == name]) for name in cells}
    return Groups(
        passed=cells,
        guarded={name: every[name] for name in cells},
        losses=lost,
        small={**few, **small},
        worst=rates.worst(cells, effects),
    )


def guarded(answer: Answer) -> bool:
    """Return whether an answer passes and isn't vacuous."""
    return bool(answer.passed) and not answer.vacuous


def base_floor(job: Job, data_hash: str, answers: Mapping[str, Answer]) -> BaseFloor:
    """Return what a finished evaluation of the base model passes. Raises ``DataError`` if it is of other rows."""
    found = outcome.result(job.result())
    theirs = outcome.read(Answer, job.path / outcome.SAMPLES)
    if found.data_hash != data_hash or theirs.keys() != answers.keys():
        raise DataError(
            f"{job.id} is no evaluation of the same rows: {found.data}, {len(theirs)} answers",
            "Evaluate the base model with the same --data, --split, --rows and seed.",
        )
    judged = [answer for answer in theirs.values() if answer.passed is not None]
    if not judged:
        raise DataError(f"{job.id}: no row has a verifier", "Leave out 'base': there is no pass rate to stand beside.")
    return BaseFloor(
        model=found.model,
        job=job.id,
        rate=rates.rate(bool(answer.passed) for answer in judged),
        guarded=rates.rate(map(guarded, judged)),
    )


def _rates(tag: str, judged: Mapping[str, Answer], *, guarded: bool) -> dict[str, rates.Rate]:
    cells: dict[str, list[bool]] = {}
    for answer in judged.values():
        if tag in answer.tags:
            passed = bool(answer.passed) and not (guarded and answer.vacuous)
            cells.setdefault(answer.tags[tag], []).append(passed)
    return {name: rates.rate(cells[name]) for name in sorted(cells)}


def _effect(answers: Sequence[Answer]) -> float:
    """How many of these rows carry the evidence of one independent row."""
    names = [families.family(answer.tags, answer.prompt) for answer in answers]
    return families.rate_effect([bool(answer.passed) for answer in answers], names)


def _losses(
    tag: str, losses: Mapping[str, RowLoss], tags: Mapping[str, Mapping[str, str]]
) -> tuple[dict[str, SegmentLoss], dict[str, int]]:
    cells: dict[str, list[RowLoss]] = {}
    for row, line in losses.items():
        if tag in tags[row]:
            cells.setdefault(tags[row][tag], []).append(line)
    large = {name: _loss(cells[name]) for name in sorted(cells) if len(cells[name]) >= SMALLEST}
    return large, {name: len(lines) for name, lines in cells.items() if len(lines) < SMALLEST}


def _loss(lines: Sequence[RowLoss]) -> SegmentLoss:
    nats, tokens = [line.nats for line in lines], [float(line.tokens) for line in lines]
    return SegmentLoss(rows=len(lines), loss=sum(nats) / sum(tokens), interval=stats.bootstrap(nats, tokens))
