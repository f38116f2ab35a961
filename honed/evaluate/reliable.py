"""Families of rows that say one thing in several ways: how many are passed in all of them, beside the mean.

A row's tag ``family`` names its family: the wordings of one instruction, a pair of twins, one topic for every reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from honed.evaluate import stats
from honed.evaluate.rates import SUITE as SUITE
from honed.evaluate.rates import Rate, rate
from honed.evaluate.stats import SMALLEST, Interval
from honed.records import Record

FAMILY = "family"


class Tagged(Protocol):
    """What has a row's tags."""

    @property
    def tags(self) -> Mapping[str, str]: ...  # noqa: D102 - as in ``outcome.Answer``


class Answered(Tagged, Protocol):
    """An answer: the row's tags and the verdict."""

    @property
    def passed(self) -> bool | None: ...  # noqa: D102


T = TypeVar("T", bound=Tagged)


class Reliable(Record):
    """Families all of whose rows are passed (``whole``), and the mean pass rate of their rows.

    ``k`` is how many rows each family has, 0 if they differ. The interval of ``mean`` draws whole families again.
    """

    k: int
    whole: Rate
    rows: int
    mean: float
    interval: Interval


def reliable(answers: Iterable[Answered]) -> dict[str, Reliable]:
    """Return what is reliable, by the tag ``suite`` ("" for rows without); only where families have several rows."""
    judged = [answer for answer in answers if answer.passed is not None]
    return {suite: _of(groups) for suite, groups in together(judged).items()}


def within(tag: str, answers: Iterable[Answered], smallest: int = SMALLEST) -> dict[str, Reliable]:
    """Return what is reliable by the values of ``tag``: of families that lie whole in one group, if it has enough."""
    found = whole_in(tag, (answer for answer in answers if answer.passed is not None))
    return {name: _of(groups) for name, groups in found.items() if len(groups) >= smallest}


def whole_in(tag: str, rows: Iterable[T]) -> dict[str, list[list[T]]]:
    """Return the families of several rows that lie whole in one group, by the values of ``tag``."""
    found: dict[str, list[list[T]]] = {}
    for groups in together(rows).values():
        for family in groups:
            values = {row.tags.get(tag) for row in family}
            if len(values) == 1 and (value := values.pop()) is not None:
                found.setdefault(value, []).append(family)
    return found


def _of(groups: Sequence[Sequence[Answered]]) -> Reliable:
    sums, sizes = [sum(bool(row.passed) for row in rows) for rows in groups], list(map(len, groups))
    return Reliable(
        k=size(groups),
        whole=rate(total == count for total, count in zip(sums, sizes, strict=True)),
        rows=sum(sizes),
        mean=sum(sums) / sum(sizes),
        interval=stats.bootstrap(sums, sizes),
    )


def together(rows: Iterable[T]) -> dict[str, list[list[T]]]:
    """Return the families of several rows by suite, in the order of the rows."""
    found: dict[str, dict[str, list[T]]] = {}
    for row in rows:
        if FAMILY in row.tags:
            found.setdefault(row.tags.get(SUITE, ""), {}).setdefault(row.tags[FAMILY], []).append(row)
    groups = {suite: [family for family in families.values() if len(family) > 1] for suite, families in found.items()}
    return {suite: families for suite, families in groups.items() if families}


def size(groups: Sequence[Sequence[object]]) -> int:
    """Return how many rows each family has; 0 if they differ."""
    sizes = set(map(len, groups))
    return sizes.pop() if len(sizes) == 1 else 0


def name(k: int) -> str:
    """Return what people call it: ``reliable@4``."""
    return f"reliable@{k}" if k else "reliable@all"
