"""Three evaluations or more of the same rows: each against the first, ranks, and the same for every group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from honed.errors import DataError
from honed.evaluate import compare, families, groups, heldout, rates, stats
from honed.evaluate.benefits import Benefits
from honed.evaluate.charts import SIDES
from honed.evaluate.compare import Comparison, Evaluation, LossChange
from honed.evaluate.power import Power
from honed.evaluate.rates import Rate, Worst
from honed.evaluate.segment import Segment
from honed.evaluate.stats import LEVEL, SMALLEST, Interval, Verdict
from honed.records import Record, Split

MOST = len(SIDES)
"""Models that can be compared at once: as many as there are colours that can be told apart."""


class Versus(Record):
    """A model against the first one, as in ``Segment``; adjusted over all comparisons (and groups of the same tag)."""

    difference: float
    interval: Interval
    won: int
    lost: int
    p_value: float
    p_adjusted: float
    verdict: Verdict


class Standing(Record):
    """One model: its metrics, its rank by pass rate (by loss where no row is verified), and the first to compare with.

    ``rank`` 1 is the best, equal ones share the better; ``rank_interval`` holds it in 95 of 100 draws of families of
    rows. ``versus``, ``loss_change``, ``power`` and ``benefits`` are None for the first model, and where nothing was
    measured; ``worst`` is the group of each tag that the model passes least often, of all but the first.
    """

    job: str
    model: str
    model_hash: str
    template_hash: str
    passed: Rate | None
    guarded: Rate | None
    loss: float | None
    cut: int
    rank: int
    rank_interval: Interval
    versus: Versus | None
    loss_change: LossChange | None
    power: Power | None = None
    worst: Mapping[str, Worst] = {}
    benefits: Benefits | None = None


class Group(Record):
    """A group of rows under all models, in their order; ``versus`` are those of all but the first.

    ``floors`` are what a ``constant`` answer and the ``echo`` of the prompt pass.
    """

    name: str
    n: int
    passed: tuple[Rate, ...]
    versus: tuple[Versus, ...]
    floors: Mapping[str, Rate] = {}


class Several(Record):
    """What three evaluations or more say together. The first of ``models`` is the one that all are compared with."""

    models: tuple[Standing, ...]
    rows: int
    n: int
    data: str
    data_hash: str
    split: Split
    max_tokens: int
    segments: Mapping[str, tuple[Group, ...]]
    small: Mapping[str, Mapping[str, int]]
    floors: Mapping[str, Rate]
    constant_answer: str
    notes: tuple[str, ...]

    @property
    def ranked(self) -> list[Standing]:
        """The models from the best to the worst."""
        return sorted(self.models, key=lambda one: one.rank)


def compare_all(evaluations: Sequence[Evaluation], tags: Sequence[str] = (), smallest: int = SMALLEST) -> Several:
    """Compare each evaluation with the first. Raises ``DataError`` for too many, or naming how their rows differ."""
    assert len(evaluations) > 1
    if len(evaluations) > MOST:
        raise DataError(f"{len(evaluations)} evaluations are too many to compare at once", f"Give {MOST} at most.")
    first, *others = evaluations
    found = [compare.compare(first, other, tags, smallest) for other in others]
    versus = _adjusted([one.overall for one in found])
    ranks, intervals = _ranks(evaluations)
    overall = found[0].overall
    return Several(
        models=tuple(
            _standing(one, ranks[at], intervals[at], versus[at - 1] if at else None, found[at - 1] if at else None)
            for at, one in enumerate(evaluations)
        ),
        rows=found[0].rows,
        n=overall.n if overall else 0,
        data=found[0].data,
        data_hash=found[0].data_hash,
        split=found[0].split,
        max_tokens=first.outcome.max_tokens,
        segments={tag: _groups(tag, found) for tag in found[0].segments},
        small=found[0].small,
        floors=overall.floors if overall else {},
        constant_answer=found[0].floors.constant_answer if found[0].floors else "",
        notes=tuple(_notes(found)),
    )


def _standing(
    evaluation: Evaluation, rank: int, interval: Interval, versus: Versus | None, pair: Comparison | None
) -> Standing:
    outcome = evaluation.outcome
    judged = [answer for answer in evaluation.answers.values() if answer.passed is not None]
    return Standing(
        job=evaluation.job,
        model=outcome.model,
        model_hash=outcome.model_hash,
        template_hash=outcome.template_hash,
        passed=rates.rate(bool(answer.passed) for answer in judged) if judged else None,
        guarded=rates.rate(map(groups.guarded, judged)) if judged else None,
        loss=outcome.loss,
        cut=outcome.cut,
        rank=rank,
        rank_interval=interval,
        versus=versus,
        loss_change=pair.loss if pair else None,
        power=pair.power if pair else None,
        worst=pair.worst if pair else {},
        benefits=pair.benefits if pair else None,
    )


def _adjusted(segments: Sequence[Segment | None]) -> list[Versus | None]:
    known = [one for one in segments if one]
    p_values, falls = (stats.holm([getattr(one, name) for one in known]) for name in ("p_value", "p_fall"))
    made = iter([_versus(*three) for three in zip(known, p_values, falls, strict=True)])
    return [next(made) if one else None for one in segments]


def _versus(segment: Segment, p_adjusted: float, p_fall: float) -> Versus:
    return Versus(
        difference=segment.difference,
        interval=segment.interval,
        won=segment.won,
        lost=segment.lost,
        p_value=segment.p_value,
        p_adjusted=p_adjusted,
        verdict=stats.verdict(segment.difference, p_adjusted, p_fall),
    )


def _groups(tag: str, found: Sequence[Comparison]) -> tuple[Group, ...]:
    """The groups of a tag: the same for all, since the rows are."""
    names = [segment.name for segment in found[0].segments[tag]]
    cells = [[one.segments[tag][at] for one in found] for at in range(len(names))]
    versus = _adjusted([segment for row in cells for segment in row])
    width = len(found)
    return tuple(
        Group(
            name=name,
            n=row[0].n,
            passed=(row[0].base, *(segment.tuned for segment in row)),
            versus=tuple(one for one in versus[at * width : (at + 1) * width] if one),
            floors=row[0].floors,
        )
        for at, (name, row) in enumerate(zip(names, cells, strict=True))
    )


def _ranks(evaluations: Sequence[Evaluation]) -> tuple[list[int], list[Interval]]:
    """Rank by passed rows, or by loss where there are none; intervals by drawing families of rows again."""
    values, weights = _measured(evaluations)
    if not len(values):
        return [1] * len(evaluations), [Interval(1, len(evaluations))] * len(evaluations)
    sums = stats.redrawn(np.column_stack([values, weights]))
    scores = sums[:, :-1] / sums[:, -1:]
    seen = _ranked(values.sum(axis=0)[None] / weights.sum())[0]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(_ranked(scores), [tail, 1 - tail], axis=0, method="nearest")
    ends = zip(low, high, strict=True)
    return [int(one) for one in seen], [Interval(float(one), float(other)) for one, other in ends]


def _ranked(scores: np.ndarray) -> np.ndarray:
    """The rank of each column in its line: 1 and how many are higher."""
    found: np.ndarray = 1 + (scores[:, None, :] > scores[:, :, None] + 1e-12).sum(axis=2)
    return found


def _measured(evaluations: Sequence[Evaluation]) -> tuple[np.ndarray, np.ndarray]:
    """A line for each family of rows: what each model passes of it, and its size; or its loss, and its tokens."""
    first = evaluations[0]
    judged = [row for row, answer in sorted(first.answers.items()) if answer.passed is not None]
    if judged:
        lines: dict[str, list[float]] = {}
        for row in judged:
            answer = first.answers[row]
            line = lines.setdefault(families.family(answer.tags, answer.prompt), [0.0] * (len(evaluations) + 1))
            for at, one in enumerate(evaluations):
                line[at] += bool(one.answers[row].passed)
            line[-1] += 1
        table = np.array(list(lines.values()))
        return table[:, :-1], table[:, -1]
    if len({one.outcome.template_hash for one in evaluations}) > 1:
        return np.empty((0, 0)), np.empty(0)
    shared = sorted(set.intersection(*(set(one.losses) for one in evaluations)))
    nats, tokens = heldout.summed([one.losses for one in evaluations], first.answers, shared)
    return -nats, tokens


def _notes(found: Sequence[Comparison]) -> list[str]:
    return list(dict.fromkeys(note for one in found for note in one.notes))
