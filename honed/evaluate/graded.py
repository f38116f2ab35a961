"""Answers that are graded from 0 to 1: their mean, and the change of it between two models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from honed.evaluate import families, stats
from honed.evaluate.stats import Interval
from honed.records import Message, Record


class Valued(Protocol):
    """An answer: the row's tags and prompt, and a value or None."""

    @property
    def tags(self) -> Mapping[str, str]: ...  # noqa: D102 - as in ``outcome.Answer``

    @property
    def prompt(self) -> Sequence[Message]: ...  # noqa: D102

    @property
    def value(self) -> float | None: ...  # noqa: D102


class Graded(Record):
    """The mean value of ``n`` answers, from 0 to 1, with its bootstrap interval by family of rows."""

    n: int
    mean: float
    interval: Interval


class GradedChange(Record):
    """Mean values of both models on the same rows; the interval and the p-value are paired and by family of rows."""

    n: int
    base: float
    tuned: float
    difference: float
    interval: Interval
    p_value: float


class Values(NamedTuple):
    """A row's values under the base and the tuned model, and the family that the row is of."""

    before: float
    after: float
    family: str


def graded(answers: Iterable[Valued]) -> Graded | None:
    """Return the mean value of the answers that have one; None if none has."""
    known = [(one.value, families.family(one.tags, one.prompt)) for one in answers if one.value is not None]
    if not known:
        return None
    sums = _sums(known)
    mean = sum(value for value, _ in known) / len(known)
    return Graded(n=len(known), mean=mean, interval=stats.bootstrap(*_columns(sums)))


def change(rows: Sequence[Values]) -> GradedChange | None:
    """Return how the mean changed; None without any row. The p-value turns the signs of whole families at random."""
    if not rows:
        return None
    count = len(rows)
    sums = _sums([(row.after - row.before, row.family) for row in rows])
    totals, sizes = _columns(sums)
    return GradedChange(
        n=count,
        base=sum(row.before for row in rows) / count,
        tuned=sum(row.after for row in rows) / count,
        difference=sum(totals) / count,
        interval=stats.bootstrap(totals, sizes),
        p_value=stats.randomisation(totals),
    )


def _sums(values: Iterable[tuple[float, str]]) -> dict[str, tuple[float, int]]:
    """Each family's total and number of rows."""
    found: dict[str, tuple[float, int]] = {}
    for value, family in values:
        total, size = found.get(family, (0.0, 0))
        found[family] = (total + value, size + 1)
    return found


def _columns(sums: Mapping[str, tuple[float, int]]) -> tuple[list[float], list[float]]:
    return [total for total, _ in sums.values()], [float(size) for _, size in sums.values()]
