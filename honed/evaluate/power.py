"""What a set of rows can show: the smallest difference it would find, and how many rows a given one needs."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, gammaln, ndtr, ndtri

from honed.evaluate import stats
from honed.evaluate.stats import Pairs
from honed.records import Record

POWER = 0.8
WANTED = 0.02
"""The difference, as a fraction, whose rows are said: two points."""
_EXACT = 4_000  # rows up to which the power of the exact test is summed; beyond, it is the normal one's
_MOST = 10_000_000


class Power(Record):
    """What these rows can show at a two-sided 0.05 with a power of 0.8, at the observed share of rows that differ.

    ``detectable`` is a fraction, None if no difference at all would be shown; ``more_rows`` are those to add so that
    two points would be.
    """

    differing: float
    detectable: float | None
    more_rows: int


def of(pairs: Pairs, effect: float = 1.0) -> Power:
    """Return what a comparison's rows can show; ``effect`` is the design effect of families."""
    differing = max((pairs.won + pairs.lost) / pairs.n, 1 / pairs.n)
    needed = ceil(effect * rows(WANTED, differing))
    return Power(
        differing=(pairs.won + pairs.lost) / pairs.n,
        detectable=detectable(int(pairs.n / effect), differing),
        more_rows=max(0, needed - pairs.n),
    )


def power(n: int, difference: float, differing: float, tail: float = 0.025) -> float:
    """Return how likely McNemar's exact test shows that the second model is better, one-sided at ``tail``.

    ``difference`` is the true one, ``differing`` the share of rows on which the two disagree, both fractions. Summed
    over the number of rows that differ: O. S. Miettinen, "The matched pairs design in the case of all-or-none
    responses", Biometrics 24 (1968); beyond 4,000 rows the normal form of R. J. Connor, "Sample size for testing
    differences in proportions for the paired-sample design", Biometrics 43 (1987).
    """
    differing = min(1.0, max(differing, difference))
    if n > _EXACT:
        spread = sqrt(max(differing - difference**2, 1e-12))
        reach = float(ndtri(1 - tail)) * sqrt(differing)
        return float(ndtr((difference * sqrt(n) - reach) / spread))
    counts = np.arange(n + 1)
    chances = _binomial(n, differing)
    wins = (differing + difference) / (2 * differing)
    lost = _most_lost(counts, tail)
    shown = np.where(lost >= 0, bdtr(np.maximum(lost, 0).astype(float), counts, 1 - wins), 0.0)
    return float((chances * shown).sum())


def detectable(n: int, differing: float, wanted: float = POWER) -> float | None:
    """Return the smallest true difference that ``n`` rows show with power ``wanted``, or None if none is."""
    if n < 1 or power(n, 1.0, 1.0) < wanted:
        return None
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if power(n, middle, differing) >= wanted else (middle, high)
    return high


def rows(difference: float, differing: float, wanted: float = POWER, tail: float = 0.025) -> int:
    """Return how many rows show a true ``difference``, one-sided at ``tail``, with power ``wanted``."""
    return _least(lambda n: power(n, difference, differing, tail) >= wanted)


def rows_to_keep(margin: float, differing: float, wanted: float = POWER, tail: float = 0.025) -> int:
    """Return how many rows rule out a fall of ``margin``, one-sided at ``tail``, if truly nothing changed.

    ``differing`` is the share of rows on which the two models disagree. What luck leaves in ``wanted`` of all cases is
    put to ``stats.not_worse``: the normal quantile of a difference of 0, whose variance is ``differing`` a row.
    """

    def shown(n: int) -> bool:
        differ = n * differing
        lost = min(n, ceil((differ + float(ndtri(wanted)) * sqrt(differ)) / 2))
        won = max(0, round(differ) - lost)
        return stats.not_worse(Pairs(n - won - lost, won, lost, 0), margin) < tail

    return _least(shown)


def _least(shown: Callable[[int], bool]) -> int:
    low, high = 1, 8
    while not shown(high) and high < _MOST:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high


def _most_lost(counts: NDArray[Any], tail: float) -> NDArray[Any]:
    """For each number of rows that differ, the most that may be lost if the test is to show a gain; -1 if none may."""
    guess = np.floor(counts / 2 + float(ndtri(tail)) * np.sqrt(counts) / 2).astype(int) + 2
    for _ in range(6):
        chance = np.where(guess >= 0, bdtr(np.maximum(guess, 0).astype(float), counts, 0.5), 0.0)
        guess = np.where((guess >= 0) & ~(chance <= tail), guess - 1, guess)  # a count above n gives nan
    most: NDArray[Any] = guess
    return most


def _binomial(n: int, share: float) -> NDArray[Any]:
    if share >= 1:
        return np.asarray(np.eye(1, n + 1, n)[0])
    counts = np.arange(n + 1)
    ways = gammaln(n + 1) - gammaln(counts + 1) - gammaln(n - counts + 1)
    chances: NDArray[Any] = np.exp(ways + counts * np.log(share) + (n - counts) * np.log1p(-share))
    return chances
