"""Win rates, length control, kappa and alpha: published values, known truths, and what must hold for all data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from honed.evaluate.judge import agreement, contest, kappa, lengths
from honed.evaluate.judge.contest import Bout, Choice

# Krippendorff's own example: units 1 to 12 as four observers coded them; a unit's gaps are left out.
_OBSERVED = [
    [1, 1, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4],
    [4, 4, 4, 4], [1, 1, 2, 1], [2, 2, 2, 2], [5, 5, 5], [1, 1], [3],
]  # fmt: skip


def test_krippendorffs_example_gives_his_alpha() -> None:
    alpha = kappa.krippendorff(_OBSERVED)
    assert alpha == pytest.approx(0.743, abs=5e-4)
    low, high = kappa.krippendorff_interval(_OBSERVED)
    assert low < 0.743 < high


def test_cohens_kappa_is_that_of_a_table_worked_by_hand() -> None:
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert kappa.cohen(first, second) == pytest.approx(0.4)
    low, high = kappa.cohen_interval(first, second)
    assert low < 0.4 < high
    assert (low, high) == kappa.cohen_interval(first, second)


def test_kappa_with_squared_weights_forgives_what_is_near() -> None:
    people, near, far = [1, 2, 3, 4, 5, 5], [2, 2, 3, 4, 5, 4], [5, 2, 3, 4, 5, 1]
    close, distant = (kappa.cohen(people, one, squared=True) for one in (near, far))
    assert close is not None
    assert distant is not None
    assert close > 0.85 > 0.2 > distant
    assert kappa.cohen(people, people, squared=True) == 1


def test_where_everybody_says_one_thing_there_is_no_kappa() -> None:
    assert kappa.cohen(["a"] * 9, ["a"] * 9) is None
    assert kappa.krippendorff([["a", "a"], ["a", "a"]]) is None
    assert kappa.cohen_interval(["a"] * 9, ["a"] * 9) == (0, 0)


def test_length_control_finds_the_truth_with_the_coverage_it_says() -> None:
    truth, seeds, covered, found = 0.6, 60, 0, []
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        gaps = random.normal(120, 150, 200)
        chance = expit(np.log(truth / (1 - truth)) + 1.2 * np.tanh(gaps / gaps.std()))
        scores = (random.random(200) < chance).astype(float)
        one = lengths.controlled(scores.tolist(), (500 + gaps).astype(int).tolist(), [500] * 200, range(200))
        found.append(one.win_rate)
        covered += one.interval.low <= truth <= one.interval.high
    assert np.mean(found) == pytest.approx(truth, abs=0.015)
    assert 0.88 <= covered / seeds <= 0.99


def test_length_control_of_equal_lengths_is_the_plain_win_rate() -> None:
    scores = [1.0] * 30 + [0.5] * 10 + [0.0] * 20
    found = lengths.controlled(scores, [9] * 60, [9] * 60, range(60))
    assert found.win_rate == pytest.approx(35.5 / 61, abs=1e-6)
    assert found.effect == 0


def test_rows_of_one_family_make_the_interval_wider() -> None:
    scores = [1.0] * 30 + [0.0] * 20
    apart = lengths.controlled(scores, [9] * 50, [9] * 50, range(50))
    together = lengths.controlled(scores, [9] * 50, [9] * 50, [place // 10 for place in range(50)])
    assert together.interval.low < apart.interval.low
    assert together.interval.high > apart.interval.high


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5)),
        min_size=1,
        max_size=40,
    )
)
def test_length_control_never_fails_and_stays_within_0_and_1(rows: list[tuple[float, int, int, int]]) -> None:
    scores, tuned, base, families = zip(*rows, strict=True)
    found = lengths.controlled(scores, tuned, base, families)
    low, high = found.interval
    assert 0 <= low <= found.win_rate <= high <= 1
    assert low < high
    other = lengths.controlled([1 - score for score in scores], base, tuned, families)
    assert other.win_rate == pytest.approx(1 - found.win_rate, abs=1e-6), "the two sides are treated alike"


def bouts(won: int, tied: int, lost: int, families: int = 0) -> list[Bout]:
    choices: list[Choice] = ["tuned"] * won + ["tie"] * tied + ["base"] * lost
    return [
        Bout(choice, str(place % families if families else place), {"task": "a" if place % 10 else "b"})
        for place, choice in enumerate(choices)
    ]


def test_a_tie_counts_half_and_says_nothing_in_the_sign_test() -> None:
    found = contest.contest("all", bouts(15, 10, 5))
    assert found.win_rate == pytest.approx(20 / 30)
    assert found.p_value == pytest.approx(0.0414, abs=1e-4)
    assert found.p_value == contest.contest("all", bouts(15, 0, 5)).p_value
    assert found.interval.low < found.win_rate < found.interval.high


def test_verdicts_of_one_family_are_one_piece_of_evidence() -> None:
    found = contest.contest("all", bouts(20, 0, 0, families=2))
    assert (found.families, found.p_value, found.verdict) == (2, 0.5, "not shown")


def test_a_group_that_is_too_small_has_a_size_only() -> None:
    found = contest.by_tag("task", bouts(20, 5, 5))
    assert [one.name for one in found.contests] == ["a"]
    assert found.small == {"b": 3}


def test_people_who_always_agree_have_an_alpha_of_1_and_single_labels_say_nothing() -> None:
    said: list[tuple[Choice, ...]] = [("base", "base"), ("tuned", "tuned"), ("tie",)]
    found = agreement.among(said, 2)
    assert found is not None
    assert (found.pairs, found.alpha) == (2, 1)
    assert agreement.among([("base",)], 1) is None
