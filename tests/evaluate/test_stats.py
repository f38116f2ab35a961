"""The statistics against published examples, scipy, each other, and simulated coverage."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from scipy.stats.contingency import crosstab

from honed.evaluate import stats
from honed.evaluate.stats import Pairs

COUNTS = st.tuples(*[st.integers(0, 60)] * 4).filter(any).map(lambda counts: Pairs(*counts))


def test_wilson_gives_the_published_limits() -> None:
    # Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17 (1998), table I.
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (passed, n), limits in published.items():
        assert stats.wilson(passed, n) == pytest.approx(limits, abs=5e-5)


def test_newcombe_gives_the_published_limits() -> None:
    # Fagerland, Lydersen, Laake, "Statistical Analysis of Contingency Tables" (2017), chapter 8: airway
    # hyper-responsiveness (Bentur 2009) and complete response (Cavo 2012); Altman et al., "Statistics with
    # Confidence" (2000), table 6.2.
    published = {
        Pairs(both=1, won=7, lost=1, neither=12): (0.0256, 0.5069),
        Pairs(both=59, won=16, lost=6, neither=80): (0.0046, 0.1186),
        Pairs(both=14, won=0, lost=5, neither=22): (-0.226, -0.011),
    }
    for pairs, limits in published.items():
        assert stats.newcombe(pairs) == pytest.approx(limits, abs=6e-4)


def test_mcnemar_gives_the_published_p_value() -> None:
    # The same airway example: 7 against 1, exact two-sided p = 0.0703.
    assert stats.mcnemar(7, 1) == pytest.approx(0.0703, abs=5e-5)
    assert stats.mcnemar(7, 1, "greater") == pytest.approx(0.0352, abs=5e-5)


def test_mcnemar_is_the_exact_binomial_test() -> None:
    for won, lost in product(range(12), range(12)):
        if won + lost:
            assert stats.mcnemar(won, lost) == pytest.approx(binomtest(won, won + lost).pvalue, rel=1e-12)
            one_sided = binomtest(won, won + lost, alternative="greater").pvalue
            assert stats.mcnemar(won, lost, "greater") == pytest.approx(one_sided, rel=1e-12)
    assert stats.mcnemar(900, 500) == pytest.approx(binomtest(900, 1400).pvalue, rel=1e-9)


def test_wilson_is_that_of_scipy() -> None:
    for passed, n in ((0, 1), (1, 1), (3, 7), (0, 400), (400, 400), (71, 200)):
        for level in (0.9, 0.95):
            theirs = binomtest(passed, n).proportion_ci(level, method="wilson")
            assert stats.wilson(passed, n, level) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_no_row_that_differs_shows_nothing() -> None:
    pairs = Pairs(both=50, won=0, lost=0, neither=50)
    assert stats.mcnemar(pairs.won, pairs.lost) == 1
    assert stats.verdict(pairs.difference, 1.0) == "not shown"
    low, high = stats.newcombe(pairs)
    assert low < 0 < high


def test_five_rows_can_never_show_a_difference() -> None:
    assert stats.verdict(1.0, stats.mcnemar(5, 0)) == "not shown"
    assert stats.verdict(1.0, stats.mcnemar(6, 0)) == "better"
    assert stats.verdict(-1.0, stats.mcnemar(0, 6)) == "worse"


def test_holm_gives_the_textbook_adjustment() -> None:
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.5, 0.9]) == [1.0, 1.0]
    assert stats.holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = stats.holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [adjusted[place] for place in order] == sorted(adjusted)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_counting_pairs_agrees_with_a_cross_table(verdicts: list[tuple[bool, bool]]) -> None:
    first, second = [one for one, _ in verdicts], [two for _, two in verdicts]
    table = crosstab(first, second, levels=([False, True], [False, True])).count
    assert stats.count(first, second) == (table[1][1], table[0][1], table[1][0], table[0][0])


@settings(max_examples=60, deadline=None)
@given(COUNTS)
def test_intervals_hold_their_estimate_and_turn_with_the_models(pairs: Pairs) -> None:
    low, high = stats.wilson(pairs.second, pairs.n)
    assert 0 <= low <= pairs.second / pairs.n + 1e-12
    assert pairs.second / pairs.n - 1e-12 <= high <= 1
    low, high = stats.newcombe(pairs)
    assert -1 <= low <= pairs.difference <= high <= 1
    swapped = Pairs(pairs.both, pairs.lost, pairs.won, pairs.neither)
    assert stats.newcombe(swapped) == pytest.approx((-high, -low))
    assert stats.mcnemar(pairs.won, pairs.lost) == pytest.approx(stats.mcnemar(pairs.lost, pairs.won))


def test_the_bootstrap_agrees_with_drawing_rows_one_by_one() -> None:
    random = np.random.default_rng(7)
    values, weights = random.normal(size=30), random.integers(1, 9, size=30).astype(float)
    rows = random.integers(0, 30, size=(20_000, 30))
    means = values[rows].sum(1) / weights[rows].sum(1)
    expected = np.quantile(means, [0.025, 0.975])
    assert stats.bootstrap(values.tolist(), weights.tolist()) == pytest.approx(expected, abs=0.012)


def test_the_bootstrap_is_the_same_for_the_same_seed_and_whatever_its_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [0.0, 1.0, -1.0, 1.0, 0.0, 0.0]
    first = stats.bootstrap(values, seed=3)
    assert stats.bootstrap(values, seed=3) == first
    monkeypatch.setattr(stats, "_DRAWS_AT_ONCE", 300)
    assert stats.bootstrap(values, seed=3) == first


def test_intervals_of_the_difference_cover_the_truth() -> None:
    """400 simulated comparisons of 80 rows: both kinds of interval hold the true difference about 95 times in 100."""
    random = np.random.default_rng(11)
    shares = np.array([0.15, 0.25, 0.10, 0.50])  # both, won, lost, neither: a true difference of 0.15
    inside = {"newcombe": 0, "bootstrap": 0}
    for draw in random.multinomial(80, shares, size=400):
        pairs = Pairs(*map(int, draw))
        values = [1.0] * pairs.won + [-1.0] * pairs.lost + [0.0] * (pairs.both + pairs.neither)
        found = {"newcombe": stats.newcombe(pairs), "bootstrap": stats.bootstrap(values, resamples=500)}
        for name, (low, high) in found.items():
            inside[name] += low <= 0.15 <= high
    assert 0.92 <= inside["newcombe"] / 400 <= 0.98
    assert 0.92 <= inside["bootstrap"] / 400 <= 0.98


def test_equal_models_are_called_different_at_most_as_often_as_stated() -> None:
    random = np.random.default_rng(5)
    draws = random.multinomial(100, [0.2, 0.15, 0.15, 0.5], size=600)
    p_values = [stats.mcnemar(int(won), int(lost)) for _, won, lost, _ in draws]
    false = sum(stats.verdict(1.0, p_value) != "not shown" for p_value in p_values)
    assert false / 600 <= 0.05
