"""Rows that hold several records: OASST trees and self-instruct seed tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
