"""Shares become rows: what is dealt adds up, stays within what there is, and keeps the weights within one row."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honed.data.mix.allot import Group, deal, largest, shares, wanted

weights = st.floats(0.01, 1000)
groups = st.lists(st.builds(Group, weights, st.integers(0, 500), st.none()), min_size=1, max_size=8)
mixed = st.lists(
    st.builds(Group, st.just(0.0) | weights, st.integers(0, 500), st.none() | st.integers(0, 100)),
    min_size=1,
    max_size=8,
)
temperatures = st.floats(0.2, 50)


@settings(deadline=None)
@given(st.integers(0, 5000), groups, temperatures)
def test_all_rows_that_are_wanted_are_dealt_if_there_are_as_many(
    total: int, dealt: list[Group], temperature: float
) -> None:
    taken = deal(total, dealt, temperature)
    assert sum(taken) == min(total, sum(group.room for group in dealt))
    assert all(0 <= count <= group.room for count, group in zip(taken, dealt, strict=True))


@settings(deadline=None)
@given(st.integers(0, 5000), mixed, temperatures)
def test_fixed_numbers_go_first_and_a_weight_of_zero_gets_nothing(
    total: int, dealt: list[Group], temperature: float
) -> None:
    taken = deal(total, dealt, temperature)
    fixed = sum(min(group.fixed, group.room) for group in dealt if group.fixed is not None)
    open_ = sum(group.room for group in dealt if group.fixed is None and group.weight > 0)
    assert sum(taken) == fixed + min(max(0, total - fixed), open_)
    for count, group in zip(taken, dealt, strict=True):
        assert count <= group.room
        if group.fixed is not None:
            assert count == min(group.fixed, group.room)
        elif group.weight == 0:
            assert count == 0


@settings(deadline=None)
@given(st.integers(0, 400), st.lists(weights, min_size=1, max_size=8), temperatures)
def test_where_rows_are_enough_each_group_is_within_one_row_of_its_share(
    total: int, given_: list[float], temperature: float
) -> None:
    dealt = [Group(weight, 1000) for weight in given_]
    for count, share in zip(deal(total, dealt, temperature), shares(given_, temperature), strict=True):
        assert abs(count - total * share) < 1 + 1e-6


@settings(deadline=None)
@given(st.integers(0, 3000), groups, temperatures)
def test_groups_that_are_not_short_share_what_the_short_ones_leave_by_weight(
    total: int, dealt: list[Group], temperature: float
) -> None:
    taken = deal(total, dealt, temperature)
    ample = [at for at, group in enumerate(dealt) if taken[at] < group.room]
    left = sum(taken[at] for at in ample)
    within = shares([dealt[at].weight for at in ample], temperature)
    assert all(abs(taken[at] - left * share) < 2 for at, share in zip(ample, within, strict=True))


@settings(deadline=None)
@given(groups, temperatures)
def test_the_largest_mix_leaves_no_group_short_and_one_row_more_would(dealt: list[Group], temperature: float) -> None:
    most = largest(dealt, temperature)
    share = wanted(dealt, temperature)
    assert all(most * one <= group.room * (1 + 1e-9) for one, group in zip(share, dealt, strict=True))
    assert any((most + 1) * one > group.room * (1 - 1e-9) for one, group in zip(share, dealt, strict=True))


@settings(deadline=None)
@given(st.lists(weights, min_size=1, max_size=8), temperatures)
def test_shares_add_up_to_one_and_keep_the_order_of_weights(given_: list[float], temperature: float) -> None:
    found = shares(given_, temperature)
    assert sum(found) == pytest.approx(1)
    order = sorted(range(len(given_)), key=given_.__getitem__)
    assert all(found[one] <= found[other] * (1 + 1e-9) for one, other in pairwise(order))


def test_temperature_one_keeps_weights_a_high_one_evens_them_and_a_low_one_sharpens_them() -> None:
    assert shares([3, 1], 1) == pytest.approx([0.75, 0.25])
    assert shares([9, 1], 2) == pytest.approx([0.75, 0.25])
    assert shares([1000, 1], 1e9) == pytest.approx([0.5, 0.5])
    assert shares([2, 1], 0.01) == pytest.approx([1, 0])
    assert shares([0, 0], 1) == [0, 0]
    assert shares([1e300, 1e-300], 1) == pytest.approx([1, 0])
