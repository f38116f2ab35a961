"""Rows that hold several records: OASST trees and self-instruct seed tasks."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from honed.cli.main import run
from honed.data.shapes import table
from honed.data.shapes.drawn import Drawn
from honed.data.shapes.reading import Paths
from honed.store import artifacts, datasets
from honed.store.workspace import Workspace
from tests.data.files import faults, saved, taken


def says(text: str, role: str, *replies: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"text": text, "role": role, "replies": list(replies), **more}


def tree() -> dict[str, Any]:
    """One prompt; its answer A (rank 1) has a question with answers C and D, its answer B (rank 0) none."""
    deeper = says("more?", "prompter", says("C", "assistant", rank=1), says("D", "assistant", rank=0))
    answers = [says("A", "assistant", deeper, rank=1), says("B", "assistant", rank=0)]
    return {"message_tree_id": "t", "prompt": says("q", "prompter", *answers)}


def paths(row: dict[str, Any], which: Paths) -> list[list[tuple[str, float]]]:
    assert table.shape_of(row) == "oasst"
    found = table.read(row, "oasst", which)
    assert found.problems == []
    return [
        [(turn.content, turn.weight) for turn in record.messages]
        for record in found.records
        if isinstance(record, Drawn)
    ]


def test_every_path_to_an_answer_is_a_row_and_each_answer_is_learned_once() -> None:
    assert paths(tree(), "all") == [
        [("q", 1), ("B", 1)],
        [("q", 1), ("A", 1), ("more?", 1), ("D", 1)],
        [("q", 1), ("A", 0), ("more?", 1), ("C", 1)],
    ]


def test_the_best_path_follows_the_best_ranked_replies() -> None:
    assert paths(tree(), "best") == [[("q", 1), ("B", 1)]]


def test_what_was_deleted_or_never_answered_ends_a_path() -> None:
    row = tree()
    row["prompt"]["replies"][0]["replies"][0]["replies"] = []
    row["prompt"]["replies"][1]["deleted"] = True
    assert paths(row, "all") == [[("q", 1), ("A", 1)]]


def test_a_tree_without_an_answer_is_a_fault_at_its_line(tmp_path: Path) -> None:
    lonely = {"prompt": says("q", "prompter")}
    text = json.dumps([tree(), lonely], indent=1)
    line = len(json.dumps([tree()], indent=1).split("\n")) + 4
    assert faults(saved(tmp_path, "trees.json", text)) == [(line, "prompt.replies", "no answer")]


def messages() -> list[dict[str, Any]]:
    """The tree as the hub has it: one message a row, in no order, with fields that nothing reads."""
    rows: list[dict[str, Any]] = []

    def add(node: dict[str, Any], parent: str | None) -> None:
        id_ = f"m{len(rows)}"
        rows.append({"message_id": id_, "parent_id": parent, "text": node["text"], "role": node["role"], "lang": "en"})
        rows[-1].update(rank=node.get("rank"), deleted=False, message_tree_id="m0")
        for reply in node["replies"]:
            add(reply, id_)

    add(tree()["prompt"], None)
    return rows[::-1]


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_messages_one_a_row_are_joined_to_the_tree_that_they_make(tmp_path: Path, kind: str) -> None:
    rows, path = messages(), tmp_path / f"flat.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text(json.dumps(rows) if kind == "json" else "".join(json.dumps(row) + "\n" for row in rows))
    survey, (good,), wrong = taken(path)
    assert wrong == []
    (whole,) = taken(saved(tmp_path, "tree.jsonl", json.dumps(tree())))[1]
    assert [one.messages for one in good.records] == [one.messages for one in whole.records]  # type: ignore[union-attr]
    assert survey.detected().endswith("1 of 1 rows have prompt, joined of messages that stand one in a row")


def test_messages_that_make_no_thread_are_named_at_their_lines(tmp_path: Path) -> None:
    more = [
        {"message_id": "a", "parent_id": "gone", "text": "lost", "role": "assistant"},
        {"message_id": "b", "parent_id": "a", "text": "lost too", "role": "prompter"},
        {"message_id": "m0", "parent_id": None, "text": "again", "role": "prompter"},
        {"message_id": "c", "parent_id": "m0", "text": None, "role": "assistant"},
        {"message_id": "d", "parent_id": "e", "text": "round", "role": "assistant"},
        {"message_id": "e", "parent_id": "d", "text": "and round", "role": "prompter"},
    ]
    rows = [*messages(), *more]
    path = saved(tmp_path, "flat.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert sorted(faults(path)) == [
        (7, "parent_id", "no thread"),
        (8, "parent_id", "no thread"),
        (9, "message_id", "duplicate id"),
        (10, "text", "wrong type"),
        (11, "parent_id", "no thread"),
        (12, "parent_id", "no thread"),
    ]


def test_a_thread_that_is_too_deep_to_go_down_is_a_fault(tmp_path: Path) -> None:
    roles = ("prompter", "assistant")
    rows = [
        {"message_id": f"m{n}", "parent_id": f"m{n - 1}" if n else None, "text": "x", "role": roles[n % 2]}
        for n in range(5000)
    ]
    path = saved(tmp_path, "flat.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert faults(path) == [(1, "message_id", "too deep")]


def test_the_command_takes_the_best_paths_only(workspace: Workspace, tmp_path: Path) -> None:
    path = saved(tmp_path, "trees.jsonl", json.dumps(tree()))
    args = ["data", "import", str(path), "--as", "set", "--heldout", "0", "--workspace", str(workspace.path)]
    for more, count in ((["--paths", "best"], 1), ([], 3)):
        assert run([*args, *more]) == 0
        assert len(list(datasets.rows(artifacts.resolve(workspace, "datasets", "set"), "train"))) == count


def test_a_seed_task_is_one_row_an_instance(tmp_path: Path) -> None:
    task = {"id": "seed_task_0", "name": "n", "instruction": "i", "is_classification": False}
    good = {**task, "instances": [{"input": "", "output": "a"}, {"input": "x", "output": "b"}]}
    bad = {**task, "instances": [{"input": "", "output": "a"}, {"input": "x"}]}
    path = saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, [good, bad, {**task, "instances": []}])))
    survey, (row,), _ = taken(path)
    assert survey.manner.shape == "seed-tasks"
    assert [[turn.content for turn in record.messages] for record in row.records] == [["i", "a"], ["i\nx", "b"]]  # type: ignore[union-attr]
    assert faults(path) == [(2, "instances[1]", "wrong type"), (3, "instances", "wrong type")]
    assert survey.unread() == ""


def test_an_alpaca_row_may_bring_its_history() -> None:
    row = {"instruction": "q3", "input": "", "output": "a3", "history": [["q1", "a1"], ["q2", "a2"]], "system": "s"}
    (record,) = table.read(row, "alpaca").records
    assert isinstance(record, Drawn)
    assert [turn.content for turn in record.messages] == ["s", "q1", "a1", "q2", "a2", "q3", "a3"]
    wrong = table.read({**row, "history": [["q1"]]}, "alpaca").problems
    assert [(problem.path, problem.kind) for problem in wrong] == [(("history", 0), "wrong type")]
