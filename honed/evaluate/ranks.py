"""Exact tests by turning signs: Wilcoxon's signed ranks for numbers, and whole families of rows for verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from honed.evaluate.stats import Alternative

EXACT = 200
"""Differences up to which Wilcoxon's p-value is exact; beyond, it is that of the normal distribution."""
_CELLS = 4_000_000  # largest total of weights whose distribution is computed exactly


def wilcoxon(differences: Sequence[float], alternative: Alternative = "two-sided") -> float:
    """Return the p-value of differences that lie symmetrically around 0; those of exactly 0 are left out.

    ``greater`` asks whether they lie above 0. Exact up to ``EXACT`` differences, ties included; beyond, normal with
    corrections for ties and continuity. F. Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1
    (1945); ties: W. J. Conover, "Practical Nonparametric Statistics" (1999), section 5.7.
    """
    values = np.asarray([value for value in differences if value != 0], dtype=np.float64)
    if not len(values):
        return 1.0
    doubled = _doubled_ranks(np.abs(values))
    signed = np.where(values > 0, doubled, -doubled)
    if len(values) <= EXACT:
        return flip(signed.tolist(), alternative)
    spread = sqrt(float((doubled.astype(np.float64) ** 2).sum()))
    return _either(alternative, *(float(ndtr((2 - way * signed.sum()) / spread)) for way in (1, -1)))


def flip(sums: Sequence[int], alternative: Alternative = "two-sided") -> float:
    """Return the exact p-value of a total of ``sums`` when the sign of each is as likely to be the other one.

    Give each family's rows won minus those lost: rows that share a template then count as the one piece of evidence
    that they are. With a row a family it is McNemar's exact test. R. A. Fisher, "The Design of Experiments" (1935),
    section 21; families as units: F. Pesarin, L. Salmaso, "Permutation Tests for Complex Data" (2010).
    """
    weights = np.abs(np.asarray([value for value in sums if value], dtype=np.int64))
    if not len(weights):
        return 1.0
    weights //= int(np.gcd.reduce(weights))
    scale = sum(map(abs, sums)) // int(weights.sum())
    total, seen = int(weights.sum()), sum(sums) // scale
    assert total <= _CELLS, "more rows than an exact test is meant for"
    chances = np.zeros(total + 1)
    chances[0] = 1.0
    reach = 0
    for weight in map(int, weights):  # the distribution of the total of those that stay positive
        chances[weight : reach + weight + 1] += chances[: reach + 1].copy()
        chances[: reach + weight + 1] /= 2
        reach += weight
    plus = (total + seen) // 2
    return _either(alternative, float(chances[plus:].sum()), float(chances[: plus + 1].sum()))


def _either(alternative: Alternative, greater: float, less: float) -> float:
    if alternative == "two-sided":
        return min(1.0, 2 * min(greater, less))
    return min(1.0, greater if alternative == "greater" else less)


def _doubled_ranks(sizes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Twice the mean rank of each, so that ties have whole numbers."""
    _, places, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: NDArray[np.int64] = (2 * ends - counts + 1)[places]
    return ranks
