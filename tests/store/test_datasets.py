from __future__ import annotations

import json

import pytest

from honed.errors import StoreError
from honed.records import Conversation, Message
from honed.store import artifacts, columns, datasets
from honed.store.workspace import Workspace
from tests.store.rows import conversation, some


def _write(workspace: Workspace, count: int) -> artifacts.Artifact:
    return datasets.write(workspace, "desk", some(count), config={"file": "rows.json"}, facts={"dropped": 1})


def test_rows_come_back_as_they_went_in_each_in_its_split(workspace: Workspace) -> None:
    made = _write(workspace, 8)
    assert list(datasets.rows(made, "train")) == [conversation(number) for number in (0, 1, 2, 4, 5, 6)]
    assert list(datasets.rows(made, "heldout")) == [conversation(3), conversation(7)]
    counts = {"task": {"count": {"train": 6, "heldout": 2}}, "audience": {"expert": {"train": 6, "heldout": 2}}}
    assert made.manifest.facts == {"train": 6, "heldout": 2, "dropped": 1, "counts": counts, "declared": {}}


def test_a_row_without_tags_or_check_comes_back_without(workspace: Workspace) -> None:
    bare = Conversation(messages=(Message(role="user", content="ü\u2028\n"), Message(role="assistant", content="字")))
    made = datasets.write(workspace, "bare", [(bare, "train")], config={}, facts={})
    assert list(datasets.rows(made, "train")) == [bare]


def _tooled(tool: dict[str, object]) -> Conversation:
    return Conversation(
        messages=(Message(role="user", content="q", tools=(tool,)), Message(role="assistant", content="a"))
    )


def test_tools_keep_the_order_of_their_keys_in_which_a_server_writes_them(workspace: Workspace) -> None:
    schema = {"type": "object", "properties": {"to": {"type": "string", "description": "d"}, "about": {}}}
    tool = {"name": "look", "description": "d", "parameters": schema}
    made = datasets.write(workspace, "tooled", [(_tooled(tool), "train")], config={}, facts={})
    (row,) = datasets.rows(made, "train")
    assert json.dumps(row.messages[0].tools) == json.dumps([tool])
    assert row.id == _tooled({name: tool[name] for name in sorted(tool)}).id


def test_a_dataset_whose_tools_were_stored_with_sorted_keys_is_still_read() -> None:
    row = _tooled({"name": "look", "description": "d"})
    plain = columns.table("rows", [row]).to_pylist()[0]
    plain["messages"][0]["tools"] = '[{"description":"d","name":"look"}]'
    assert columns.record("rows", plain) == row


def test_more_rows_than_a_chunk_keep_their_order(workspace: Workspace) -> None:
    made = _write(workspace, 9000)
    assert made.manifest.facts["train"] == 6750
    numbers = [row.check.params["number"] for row in datasets.rows(made, "train") if row.check]
    assert numbers == [number for number in range(9000) if number % 4 != 3]


def test_shards_hold_every_row_of_a_split_once_and_are_read_in_any_order(workspace: Workspace) -> None:
    made = _write(workspace, 9000)
    shards = datasets.shards(made, "train", 100)
    assert sum(shard.count for shard in shards) == 6750 and max(shard.count for shard in shards) == 100
    assert {shard.group for shard in shards} == {0, 1, 2}
    every = list(datasets.rows(made, "train"))
    assert list(datasets.read(made, "train", shards)) == every
    backwards = list(datasets.read(made, "train", shards[::-1]))
    assert backwards != every and {row.id for row in backwards} == {row.id for row in every}
    assert [shard.count for shard in datasets.shards(made, "train", 100, 250)] == [100, 100, 50]
    assert list(datasets.read(made, "train", shards[40:41])) == every[sum(shard.count for shard in shards[:40]) :][:100]


def test_a_sample_is_from_all_over_a_split_in_its_order_and_a_smaller_one_is_part_of_it(workspace: Workspace) -> None:
    made = _write(workspace, 9000)
    held = [row.id for row in datasets.rows(made, "heldout")]

    def sampled(count: int, seed: int) -> list[Conversation]:
        return list(datasets.read(made, "heldout", datasets.sampled(made, "heldout", count, seed)))

    places = [held.index(row.id) for row in sampled(30, 0)]
    assert len(places) == 30 and places == sorted(places)
    assert min(places) < 1024 and max(places) >= 2048  # of the first group, and of the last
    assert set(places) > {held.index(row.id) for row in sampled(10, 0)}
    assert places != [held.index(row.id) for row in sampled(30, 1)]
    assert sampled(9999, 0) == list(datasets.rows(made, "heldout"))
    assert sampled(0, 0) == []


def test_long_rows_make_small_row_groups_so_that_reading_one_is_bounded(workspace: Workspace) -> None:
    turns = [
        (Message(role="user", content=f"{n}"), Message(role="assistant", content="a" * 3_000_000)) for n in range(9)
    ]
    made = datasets.write(workspace, "long", [(Conversation(messages=t), "train") for t in turns], config={}, facts={})
    assert len(datasets.shards(made, "train")) == 2
    assert [row.prompt[0].content for row in datasets.rows(made, "train")] == [str(n) for n in range(9)]


@pytest.mark.parametrize(("limit", "count"), [(0, 0), (2, 2), (99, 6), (None, 6)])
def test_a_limit_is_the_most_rows_that_are_read(workspace: Workspace, limit: int | None, count: int) -> None:
    assert len(list(datasets.rows(_write(workspace, 8), "train", limit))) == count


def test_a_dataset_of_no_rows_is_one(workspace: Workspace) -> None:
    made = _write(workspace, 0)
    assert list(datasets.rows(made, "train")) == []


def test_the_same_rows_written_twice_are_one_version(workspace: Workspace) -> None:
    assert _write(workspace, 8).ref == _write(workspace, 8).ref == "desk@v1"
    assert _write(workspace, 9).ref == "desk@v2"


def test_damaged_rows_are_told(workspace: Workspace) -> None:
    made = _write(workspace, 8)
    path = made.path / datasets.ROWS
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match=r"rows\.parquet: missing or damaged"):
        list(datasets.rows(made, "train"))
    path.unlink()
    with pytest.raises(StoreError, match=r"rows\.parquet: missing or damaged"):
        list(datasets.rows(made, "train"))
