"""How sure we are: intervals and exact tests for pass rates and their differences. No torch, no global seed.

``won`` rows are passed by the second model only, ``lost`` rows by the first only; ``both`` and ``neither`` say
themselves. All intervals are two-sided, of level 0.95 unless another is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtr, ndtri  # the whole of scipy.stats takes a second to import

LEVEL = 0.95
RESAMPLES = 10_000
_DRAWS_AT_ONCE = 4_000_000  # indices drawn together: 32 MB, whatever the number of rows
_ROWS_A_KIND = 6  # that are drawn one by one in the time in which the number of all of a kind is: 13 and 80 ns

MARGIN = 0.05
"""A fall that people would mind, as a fraction, where nobody says what they would."""
SMALLEST = 6
"""Fewer rows can't show any difference at 0.05: even five wins of five have a two-sided exact p-value of 0.06."""

Alternative = Literal["two-sided", "greater", "less"]
Verdict = Literal["better", "not worse", "not shown", "worse"]


class Interval(NamedTuple):
    """A confidence interval, in the units of what it is about."""

    low: float
    high: float


class Pairs(NamedTuple):
    """How the verdicts of two models fall on the same rows, as counts."""

    both: int
    won: int
    lost: int
    neither: int

    @property
    def n(self) -> int:
        """Number of rows."""
        return sum(self)

    @property
    def first(self) -> int:
        """Rows that the first model passes."""
        return self.both + self.lost

    @property
    def second(self) -> int:
        """Rows that the second model passes."""
        return self.both + self.won

    @property
    def difference(self) -> float:
        """Second pass rate minus the first, from -1 to 1."""
        return (self.won - self.lost) / self.n


def count(first: Sequence[bool], second: Sequence[bool]) -> Pairs:
    """Return the counts of two equally long lists of verdicts; place i of both is the same row."""
    seen = [0, 0, 0, 0]
    for before, after in zip(first, second, strict=True):
        seen[(0 if before else 1) if after else (2 if before else 3)] += 1
    return Pairs(*seen)


def wilson(passed: float, n: float, level: float = LEVEL) -> Interval:
    """Return the score interval of a pass rate, ``n`` at least 1.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    assert 0 <= passed <= n > 0
    z, share = float(ndtri((1 + level) / 2)), passed / n
    middle = share + z * z / (2 * n)
    arm = z * sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    scale = 1 + z * z / n
    return Interval(max(0.0, (middle - arm) / scale), min(1.0, (middle + arm) / scale))


def mcnemar(won: int, lost: int, alternative: Alternative = "two-sided", *, mid_p: bool = False) -> float:
    """Return the exact p-value of equal pass rates, from the rows on which the two models disagree.

    ``greater`` asks whether the second model is better, ``less`` whether it is worse. With no such row the value is 1:
    nothing is shown. ``mid_p`` counts half of the observed split's own chance: less cautious, no longer a strict bound.
    Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947), with the binomial distribution in place of its approximation; mid-p: M. W. Fagerland,
    S. Lydersen, P. Laake, "The McNemar test for binary matched-pairs data", BMC Medical Research Methodology 13 (2013).
    """
    n = won + lost
    if n == 0:
        return 1.0
    fewer = {"greater": lost, "less": won, "two-sided": min(won, lost)}[alternative]
    p_value = float(bdtr(fewer, n, 0.5))  # as many rows against the alternative, or fewer
    if mid_p:
        p_value -= (p_value - (float(bdtr(fewer - 1, n, 0.5)) if fewer else 0.0)) / 2
    return min(1.0, 2 * p_value) if alternative == "two-sided" else p_value


def newcombe(pairs: Pairs, level: float = LEVEL, effect: float = 1.0) -> Interval:
    """Return the interval of a paired difference of pass rates: squares of Wilson arms, with their correlation.

    Never of zero width, also where no row is won or lost. R. G. Newcombe, "Improved confidence intervals for the
    difference between binomial proportions based on paired data", Statistics in Medicine 17 (1998), method 10.
    ``effect`` is the design effect of rows that aren't independent: all counts are divided by it, as in J. N. K. Rao,
    A. J. Scott, "A simple method for the analysis of clustered binary data", Biometrics 48 (1992).
    """
    n = pairs.n / effect
    first, second = pairs.first / pairs.n, pairs.second / pairs.n
    low_1, high_1 = wilson(pairs.first / effect, n, level)
    low_2, high_2 = wilson(pairs.second / effect, n, level)
    phi = _correlation(pairs, effect)
    down = _arm(second - low_2, high_1 - first, phi)
    up = _arm(high_2 - second, first - low_1, phi)
    return Interval(max(-1.0, pairs.difference - down), min(1.0, pairs.difference + up))


def gap(first: tuple[float, float], second: tuple[float, float], level: float = LEVEL) -> Interval:
    """Return the interval of the second pass rate minus the first, on different rows; each is (passed, n).

    Rows that aren't independent are given divided by their design effect.

    R. G. Newcombe, "Interval estimation for the difference between independent proportions: comparison of eleven
    methods", Statistics in Medicine 17 (1998), method 10.
    """
    one, two = first[0] / first[1], second[0] / second[1]
    (low_1, high_1), (low_2, high_2) = wilson(*first, level), wilson(*second, level)
    return Interval(two - one - _arm(two - low_2, high_1 - one, 0.0), two - one + _arm(high_2 - two, one - low_1, 0.0))


def not_worse(pairs: Pairs, margin: float, effect: float = 1.0) -> float:
    """Return the one-sided p-value of a fall of ``margin`` (above 0) or more: small where such a fall is ruled out.

    The score test of a paired difference, with a correction for continuity of half a row, so that it errs towards
    caution also where hardly any rows differ. T. Tango, "Equivalence test and confidence interval for the difference in
    proportions for the paired-sample design", Statistics in Medicine 17 (1998). ``effect`` is as in ``newcombe``.
    """
    assert 0 < margin <= 1
    n, won, lost = pairs.n / effect, pairs.won / effect, pairs.lost / effect
    middle = won + lost + margin * (2 * n - won + lost)
    share = (middle + sqrt(max(0.0, middle**2 - 8 * n * lost * margin * (1 + margin)))) / (4 * n)  # lost, at the margin
    variance = (2 * share - margin - margin**2) * n
    above = won - lost + n * margin - 0.5
    return 1.0 if variance <= 0 or above <= 0 else float(ndtr(-above / sqrt(variance)))


def bootstrap(
    values: Sequence[float],
    weights: Sequence[float] | None = None,
    *,
    seed: int = 0,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the percentile interval of ``sum(values) / sum(weights)`` when whole rows are drawn again.

    For a paired difference give each row's difference: a row's two numbers then stay together. ``weights`` are 1 for
    a mean of rows, or supervised tokens for a loss per token. The same seed gives the same interval.
    B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3.
    """
    tops = np.asarray(values, dtype=np.float64)
    bottoms = np.ones_like(tops) if weights is None else np.asarray(weights, dtype=np.float64)
    assert len(tops) == len(bottoms) > 0, "one weight a row, and at least one row"
    sums = redrawn(np.column_stack([tops, bottoms]), seed=seed, resamples=resamples)
    tail = (1 - level) / 2
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [tail, 1 - tail])
    return Interval(float(low), float(high))


def redrawn(rows: NDArray[np.float64], *, seed: int = 0, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Return the sums of ``rows`` (n, columns) when n whole rows are drawn again, so often: (resamples, columns)."""
    # Equal rows are drawn as one kind: the same distribution, and differences of verdicts have but three kinds.
    kinds, shares = np.unique(rows, axis=0, return_counts=True)
    random = np.random.default_rng(seed)
    chunk = max(1, _DRAWS_AT_ONCE // len(rows))
    return np.concatenate(
        [_drawn(shares, min(chunk, resamples - start), random) @ kinds for start in range(0, resamples, chunk)]
    )


def _drawn(shares: NDArray[np.intp], times: int, random: np.random.Generator) -> NDArray[np.intp]:
    """Return how often each kind comes, of which there are ``shares`` rows, when as many are drawn: (times, kinds)."""
    rows, kinds = int(shares.sum()), len(shares)
    if kinds * _ROWS_A_KIND < rows:
        return random.multinomial(rows, shares / rows, size=times)
    kind = np.repeat(np.arange(kinds), shares)[random.integers(0, rows, size=(times, rows), dtype=np.int32)]
    kind += kinds * np.arange(times)[:, None]
    return np.bincount(kind.ravel(), minlength=kinds * times).reshape(times, kinds)


def randomisation(differences: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES) -> float:
    """Return the two-sided p-value of paired differences whose signs chance alone decides.

    Each draw gives every difference a sign at random; the value is the share of draws whose sum is as far from 0, the
    one that was seen counted in. E. J. G. Pitman, "Significance tests which may be applied to samples from any
    populations", Supplement to the Journal of the Royal Statistical Society 4 (1937).
    """
    values = np.asarray(differences, dtype=np.float64)
    assert len(values) > 0
    seen = abs(float(values.sum())) * (1 - 1e-12)  # equal sums in another order of adding are equal
    random = np.random.default_rng(seed)
    chunk, beyond = max(1, _DRAWS_AT_ONCE // len(values)), 0
    for start in range(0, resamples, chunk):
        signs = random.integers(0, 2, size=(min(chunk, resamples - start), len(values)), dtype=np.int8)
        sums = 2 * (signs @ values) - values.sum()
        beyond += int((np.abs(sums) >= seen).sum())
    return (1 + beyond) / (1 + resamples)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return each p-value adjusted for being one of several: the chance of any false claim stays at its level.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
    """
    adjusted = [1.0] * len(p_values)
    worst = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = worst
    return adjusted


def verdict(difference: float, p_value: float, p_fall: float = 1.0, level: float = LEVEL) -> Verdict:
    """Return what is shown by a two-sided p-value, and by that of a fall beyond a margin (``not_worse``).

    Too few rows, or none that differ and too few to rule a fall out, is ``not shown``, never a pass.
    """
    if p_value < 1 - level:
        return "better" if difference > 0 else "worse"
    return "not worse" if p_fall < (1 - level) / 2 else "not shown"


def _correlation(pairs: Pairs, effect: float) -> float:
    """Phi of the two verdicts, drawn towards 0 where it is positive, as method 10 asks."""
    margins = pairs.first * (pairs.n - pairs.first) * pairs.second * (pairs.n - pairs.second)
    if margins == 0:
        return 0.0
    product: float = pairs.both * pairs.neither - pairs.won * pairs.lost
    if product > 0:
        product = max(product - effect * pairs.n / 2, 0.0)
    return product / sqrt(margins)


def _arm(one: float, other: float, phi: float) -> float:
    return sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))
