"""Rows that share a prompt or its template are one family: less evidence than as many rows of their own."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from honed.evaluate import ranks, stats
from honed.evaluate.stats import LEVEL, RESAMPLES, Alternative, Interval, Pairs
from honed.records import Message, digest

TAGS = ("family", "template")
"""The tags that name a row's family, the first that it has. Without one, rows of the same prompt are a family."""


class Sums(NamedTuple):
    """Each family's rows: how many, and those won minus those lost."""

    sizes: tuple[int, ...]
    differences: tuple[int, ...]

    @property
    def apart(self) -> bool:
        """Whether each row is a family of its own."""
        return all(size == 1 for size in self.sizes)


def family(tags: Mapping[str, str], prompt: Sequence[Message]) -> str:
    """Return the name of a row's family, by its tags or else by its prompt."""
    named = next((f"{tag}={tags[tag]}" for tag in TAGS if tag in tags), None)
    return named or digest([[message.role, message.content] for message in prompt])


def sums(first: Sequence[bool], second: Sequence[bool], families: Sequence[Hashable]) -> Sums:
    """Return the verdicts of two models by family; place i of all three is the same row."""
    sizes: dict[Hashable, int] = {}
    differences: dict[Hashable, int] = {}
    for before, after, name in zip(first, second, families, strict=True):
        sizes[name] = sizes.get(name, 0) + 1
        differences[name] = differences.get(name, 0) + after - before
    return Sums(tuple(sizes.values()), tuple(differences.values()))


def test(pairs: Pairs, by: Sums, alternative: Alternative = "two-sided") -> float:
    """Return the p-value of equal pass rates: McNemar's exact one, or ``flip``'s where rows share a family."""
    if by.apart:
        return stats.mcnemar(pairs.won, pairs.lost, alternative)
    return ranks.flip(by.differences, alternative)


def design_effect(pairs: Pairs, by: Sums) -> float:
    """Return how many rows carry the evidence of one independent row: 1 or more, and 1 where no two share a family.

    The variance of the mean difference over families, with n/(n-1) for their number, over that of independent rows.
    Where no row differs, or there are fewer than two families, nothing tells it: a family then counts as a single row.
    L. Kish, "Survey Sampling" (1965), section 5.4; J. N. K. Rao, A. J. Scott, Biometrics 48 (1992).
    """
    if by.apart:
        return 1.0
    count, n = len(by.sizes), pairs.n
    worst = n / count
    alone = (pairs.won + pairs.lost) / n - pairs.difference**2
    if count < 2 or alone <= 0:
        return worst
    left = np.asarray(by.differences) - pairs.difference * np.asarray(by.sizes)
    together = count / (count - 1) * float((left**2).sum()) / n
    return max(1.0, together / alone)


def rate_effect(passed: Sequence[bool], families: Sequence[Hashable]) -> float:
    """Return how many rows carry the evidence of one independent row where a single pass rate is told, 1 or more.

    As ``design_effect``; where all rows pass or none does, or there is one family, a family counts as a single row.
    """
    sizes: dict[Hashable, int] = {}
    sums_: dict[Hashable, int] = {}
    for one, name in zip(passed, families, strict=True):
        sizes[name] = sizes.get(name, 0) + 1
        sums_[name] = sums_.get(name, 0) + one
    count, n = len(sizes), len(passed)
    share = sum(passed) / n
    if count == n:
        return 1.0
    if count < 2 or share in (0, 1):
        return n / count
    left = np.asarray(list(sums_.values())) - share * np.asarray(list(sizes.values()))
    together = count / (count - 1) * float((left**2).sum()) / n
    return max(1.0, together / (share * (1 - share)))


def bootstrap(by: Sums, *, seed: int = 0, level: float = LEVEL, resamples: int = RESAMPLES) -> Interval:
    """Return the percentile interval of the mean difference when whole families are drawn again.

    A. C. Cameron, J. B. Gelbach, D. L. Miller, "Bootstrap-based improvements for inference with clustered errors",
    Review of Economics and Statistics 90 (2008), pairs cluster bootstrap.
    """
    return stats.bootstrap(by.differences, by.sizes, seed=seed, level=level, resamples=resamples)
