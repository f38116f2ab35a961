"""Each subset holds the one before it, has the mix of the whole, and depends on the seed alone."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from honed.records import Message, Preference, Rating
from honed.rounds.curve import order
from honed.store import datasets
from honed.store.workspace import Workspace
from honed.train.objectives.kinds import of_each
from tests.rounds.curve.desk import question, write_rows


@given(st.lists(st.sampled_from("aabc"), max_size=60), st.integers(0, 3))
def test_ranks_are_an_order_that_spreads_every_group(groups: list[str], seed: int) -> None:
    ids = [str(at) for at in range(len(groups))]
    found = order.ranks(ids, groups, seed)
    assert sorted(found) == list(range(len(ids)))
    share = {group: count / len(groups) for group, count in Counter(groups).items()}
    first = [group for _, group in sorted(zip(found, groups, strict=True))]
    for size in range(1, len(first) + 1):
        seen = Counter(first[:size])
        assert all(abs(seen[group] - size * share[group]) <= len(share) for group in share)


def test_a_row_keeps_its_place_among_its_task_when_the_file_is_sorted_otherwise() -> None:
    ids, groups = [str(at) for at in range(40)], ["x"] * 40
    by_id = dict(zip(ids, order.ranks(ids, groups, 7), strict=True))
    again = dict(zip(ids[::-1], order.ranks(ids[::-1], groups, 7), strict=True))
    assert by_id == again
    assert by_id != dict(zip(ids, order.ranks(ids, groups, 8), strict=True))


def test_the_first_rows_of_the_written_data_are_the_subsets(workspace: Workspace) -> None:
    source = write_rows(workspace)
    small = order.write(workspace, source, (6, 30, 60), 0, "bills-curve")
    large = order.write(workspace, source, (30, 60), 0, "bills-curve")
    names = {size: {row.id for row in datasets.rows(small, "train", size)} for size in (6, 30, 60)}
    assert names[6] < names[30] < names[60] == {row.id for row in datasets.rows(source, "train")}
    assert names[30] == {row.id for row in datasets.rows(large, "train", 30)}
    assert Counter(row.tags["task"] for row in datasets.rows(small, "train", 6)) == {"billing": 4, "returns": 2}
    assert list(datasets.rows(small, "heldout")) == list(datasets.rows(source, "heldout"))
    assert small.manifest.parents == {source.ref: source.manifest.hash}


def test_rows_beyond_the_largest_size_are_not_copied_and_another_seed_takes_others(workspace: Workspace) -> None:
    source = write_rows(workspace)
    made = [order.write(workspace, source, (4, 16), seed, "bills-curve") for seed in (0, 1)]
    rows = [[row.id for row in datasets.rows(one, "train")] for one in made]
    assert [len(ids) for ids in rows] == [16, 16]
    assert set(rows[0]) != set(rows[1])
    assert order.write(workspace, source, (4, 16), 1, "bills-curve").ref == made[1].ref


def test_preferences_come_in_a_seeded_order_too(workspace: Workspace) -> None:
    pairs = [Preference(prompt=(Message(role="user", content=str(at)),), chosen="a", rejected="b") for at in range(20)]
    source = datasets.write(
        workspace, "pairs", [(question(1, "billing"), "heldout")], config={}, facts={}, preferences=pairs
    )
    made = order.write(workspace, source, (4, 12), 0, "pairs-curve")
    found = list(datasets.preferences(made))
    assert len(found) == 12 and found != pairs[:12]
    assert found == sorted(found, key=lambda pair: order.digest([0, pair.id]))


def test_what_kto_learns_from_has_the_mix_of_the_whole_at_every_size(workspace: Workspace) -> None:
    turns = (Message(role="user", content="x"),)
    pairs = [Preference(prompt=turns, chosen="a", rejected=str(at)) for at in range(10)]
    ratings = [Rating(prompt=turns, answer=str(at), good=True) for at in range(90)]
    source = datasets.write(
        workspace,
        "mixed",
        [(question(1, "billing"), "heldout")],
        config={},
        facts={},
        preferences=pairs,
        ratings=ratings,
    )
    made = order.write(workspace, source, (10, 20), 0, "mixed-curve", "kto")
    assert (len(list(datasets.preferences(made))), len(list(datasets.ratings(made)))) == (2, 18)
    assert of_each(10, 18, 2) == (9, 1)
    every = order.write(workspace, source, (10, 20), 0, "mixed-dpo", "dpo")
    assert len(list(datasets.preferences(every))) == 10


@pytest.mark.parametrize("size", [1, 2, 3])
def test_tiny_sizes_work(workspace: Workspace, size: int) -> None:
    made = order.write(workspace, write_rows(workspace, train=5), (size, 5), 0, "bills-curve")
    assert len(list(datasets.rows(made, "train", size))) == size
