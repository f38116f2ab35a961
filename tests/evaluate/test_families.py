"""Families of rows, signed ranks and power: against scipy, each other, and simulation."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from honed.evaluate import families, power, ranks, rates, stats
from honed.evaluate.families import Sums
from honed.evaluate.stats import Alternative, Pairs
from honed.records import Message

WAYS: tuple[Alternative, ...] = ("two-sided", "greater", "less")


@given(st.integers(0, 40), st.integers(0, 40))
def test_turning_single_rows_is_mcnemars_exact_test(won: int, lost: int) -> None:
    for way in WAYS:
        assert ranks.flip([1] * won + [-1] * lost + [0], way) == pytest.approx(stats.mcnemar(won, lost, way))


@given(st.lists(st.integers(-4, 4), max_size=9))
def test_turning_families_is_the_permutation_test_by_hand(sums: list[int]) -> None:
    signs = np.array(np.meshgrid(*[[1, -1]] * len(sums))).reshape(len(sums), -1).T if sums else np.zeros((1, 0))
    totals = signs @ np.abs(sums) if sums else np.zeros(1)
    assert ranks.flip(sums, "greater") == pytest.approx(float((totals >= sum(sums) - 1e-9).mean()))


def test_wilcoxon_is_scipys() -> None:
    random = np.random.default_rng(3)
    for n in (5, 20, 60, 300):
        values = random.normal(0.2, 1, size=n)
        for way in WAYS:
            method = "exact" if n <= ranks.EXACT else "asymptotic"
            theirs = scipy.stats.wilcoxon(values, alternative=way, method=method, correction=True).pvalue
            assert ranks.wilcoxon(values.tolist(), way) == pytest.approx(theirs, rel=1e-9)


def test_wilcoxon_leaves_zeros_out_and_ties_are_exact() -> None:
    assert ranks.wilcoxon([0.0, 0.0]) == 1
    # ranks 1.5, 1.5, 3: of the 8 sign patterns one reaches the total of all
    assert ranks.wilcoxon([1, 1, 2, 0], "greater") == pytest.approx(1 / 8)


def test_a_family_is_named_by_its_tag_or_by_its_prompt() -> None:
    prompt, other = (Message(role="user", content="a"),), (Message(role="user", content="b"),)
    assert families.family({"template": "x"}, prompt) == families.family({"template": "x"}, other)
    assert families.family({}, prompt) == families.family({"task": "t"}, prompt) != families.family({}, other)


def test_rows_that_only_repeat_their_family_are_worth_one_row_each_family() -> None:
    first, second = [False] * 20 + [True] * 20, [True] * 20 + [True] * 20
    names = [place // 5 for place in range(40)]
    pairs, by = stats.count(first, second), families.sums(first, second, names)
    assert families.test(pairs, by) == stats.mcnemar(4, 0) > 0.05 > stats.mcnemar(pairs.won, pairs.lost)
    assert families.design_effect(pairs, by) == pytest.approx(5 * 8 / 7)
    one, other = stats.newcombe(pairs), stats.newcombe(pairs, effect=families.design_effect(pairs, by))
    assert other.low < one.low and families.bootstrap(by).low < stats.bootstrap([1.0] * 20 + [0.0] * 20).low


def test_where_no_row_differs_a_family_counts_as_one_row() -> None:
    by = Sums((5,) * 10, (0,) * 10)
    assert families.design_effect(Pairs(25, 0, 0, 25), by) == 5


def test_by_family_equal_models_are_called_different_as_often_as_stated_and_intervals_cover() -> None:
    """Families of 5 rows that win or lose together: McNemar's test on rows would be wrong three times as often."""
    random = np.random.default_rng(8)
    names = [place // 5 for place in range(200)]
    false = naive = inside = drawn = 0
    for _ in range(400):
        hard, own = random.normal(size=200), np.sqrt(0.3) * random.normal(size=(2, 200))
        own[1] += np.sqrt(0.7) * np.repeat(random.normal(size=40), 5)
        first, second = (hard + own[0] / np.sqrt(0.3) < 0).tolist(), (hard + own[1] < 0).tolist()
        pairs, by = stats.count(first, second), families.sums(first, second, names)
        low, high = stats.newcombe(pairs, effect=families.design_effect(pairs, by))
        false += families.test(pairs, by) < 0.05
        naive += stats.mcnemar(pairs.won, pairs.lost) < 0.05
        inside += low <= 0 <= high
        drawn += families.bootstrap(by, resamples=400).low <= 0 <= families.bootstrap(by, resamples=400).high
    assert false / 400 <= 0.065 < naive / 400
    assert inside / 400 >= 0.93 and drawn / 400 >= 0.9


def test_a_fall_of_the_margin_is_ruled_out_wrongly_at_most_as_often_as_stated() -> None:
    random = np.random.default_rng(4)
    for differing in (0.05, 0.1, 0.3):
        shares = [0.6 - differing / 2, (differing - 0.05) / 2, (differing + 0.05) / 2, 0.4 - differing / 2]
        draws = random.multinomial(300, shares, size=2000)
        wrong = [stats.not_worse(Pairs(*map(int, draw)), 0.05) < 0.05 for draw in draws]
        assert np.mean(wrong) <= 0.06  # 0.05 and three standard errors of 2,000 draws would be 0.065


def test_mid_p_lies_between_the_exact_value_and_half_of_it() -> None:
    for won, lost in ((7, 1), (10, 4), (3, 3), (0, 1)):
        exact, mid = stats.mcnemar(won, lost), stats.mcnemar(won, lost, mid_p=True)
        assert exact / 2 <= mid <= exact
    # Fagerland, Lydersen, Laake (2013), airway hyper-responsiveness, 7 against 1: mid-p 0.0391.
    assert stats.mcnemar(7, 1, mid_p=True) == pytest.approx(0.0391, abs=5e-5)


def test_power_is_that_of_simulated_comparisons() -> None:
    random = np.random.default_rng(6)
    for n, difference, differing in ((140, 0.1, 0.3), (60, 0.3, 0.4), (30, 0.2, 0.2)):
        won, lost = (differing + difference) / 2, (differing - difference) / 2
        draws = random.multinomial(n, [0.3, won, lost, 0.7 - differing], size=3000)
        shown = np.mean([stats.mcnemar(int(a), int(b), "greater") <= 0.025 for _, a, b, _ in draws])
        assert power.power(n, difference, differing) == pytest.approx(shown, abs=0.03)


def test_rows_and_detectable_differences_turn_into_each_other() -> None:
    n = power.rows(0.1, 0.3)
    smallest = power.detectable(n, 0.3)
    assert smallest is not None and smallest == pytest.approx(0.1, abs=0.005)
    assert power.detectable(4, 0.5) is None  # four rows can't show even a sure win
    found = power.of(Pairs(60, 20, 10, 50))
    assert found.detectable is not None and found.more_rows > 1000


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(0, 20), st.integers(1, 20)), max_size=6))
def test_the_worst_group_is_behind_all_others(cells: dict[str, tuple[int, int]]) -> None:
    groups = {name: rates.rate([True] * passed + [False] * failed) for name, (passed, failed) in cells.items()}
    gap = rates.worst(groups)
    assert rates.worst(groups, dict.fromkeys(groups, 1.0)) == gap
    assert (gap is None) == (len(groups) < 2)
    if gap:
        assert gap.rate.rate == min(cell.rate for cell in groups.values())
        assert gap.interval.low <= gap.gap <= gap.interval.high and gap.gap >= 0


def test_the_worst_groups_gap_counts_families_of_rows() -> None:
    passed, names = [True] * 24 + [False] * 24, [place // 4 for place in range(48)]
    assert families.rate_effect(passed, names) == pytest.approx(4 * 12 / 11)
    assert families.rate_effect(passed, range(48)) == 1
    assert families.rate_effect([True] * 48, names) == 4  # nothing tells how alike they are: a family is one row
    groups = {"a": rates.rate([True] * 20 + [False] * 28), "b": rates.rate([True] * 40 + [False] * 8)}
    rows, by_family = rates.worst(groups), rates.worst(groups, {"a": 4.0, "b": 4.0})
    assert rows is not None and by_family is not None and by_family.gap == rows.gap
    assert by_family.interval.low < rows.interval.low < rows.interval.high < by_family.interval.high
    quarter = ((5, 12), (10, 12))
    assert by_family.interval == pytest.approx(stats.gap(*quarter, 1 - 0.05 / 2))


def test_rows_that_rule_a_fall_out_are_as_many_as_the_gate_takes() -> None:
    # Two models that agree on every row: 70 rows rule out a fall of five points at 0.05, and 69 don't.
    assert power.rows_to_keep(0.05, 0.0, tail=0.05) == 70
    assert stats.not_worse(Pairs(70, 0, 0, 0), 0.05) < 0.05 <= stats.not_worse(Pairs(69, 0, 0, 0), 0.05)
    n = power.rows_to_keep(0.05, 0.2, tail=0.05)
    drawn = np.random.default_rng(0).multinomial(n, [0.1, 0.1, 0.8], size=4000)
    shown = [stats.not_worse(Pairs(int(same), int(won), int(lost), 0), 0.05) < 0.05 for won, lost, same in drawn]
    assert 0.77 < sum(shown) / len(shown) < 0.85


def test_newcombes_interval_of_independent_rates_is_the_published_one() -> None:
    # Newcombe (1998), table II: 56/70 against 48/80, method 10: 0.0524 to 0.3339.
    assert stats.gap((48, 80), (56, 70)) == pytest.approx((0.0524, 0.3339), abs=5e-5)
