"""Rows that share turns are one OASST tree, and come back from it as they were; what doesn't is said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from honed.cli.main import run
from honed.data.forms.held import Tally
from honed.data.forms.trees import OASST
from honed.data.shapes import table
from honed.data.shapes.drawn import Drawn
from honed.records import Conversation, Message, Split
from honed.store import datasets
from honed.store.workspace import Workspace

Told = tuple[tuple[str, ...], tuple[float, ...], str]


def said(*texts: str, task: str = "x", weights: Sequence[float] = ()) -> Conversation:
    """A row whose turns, the user's first, say ``texts``; the weights are those of the answers."""
    answers = iter([*weights, *[1.0] * len(texts)])
    turns = [
        Message(role="assistant", content=text, weight=next(answers))
        if place % 2
        else Message(role="user", content=text)
        for place, text in enumerate(texts)
    ]
    return Conversation(messages=tuple(turns), tags={"task": task})


def there_and_back(rows: Sequence[Conversation]) -> tuple[list[dict[str, Any]], list[Conversation], Tally]:
    """The trees of the rows, the rows that are read from them, and what was counted."""
    tally = Tally()
    trees = [json.loads(json.dumps(tree)) for tree in OASST.rows(rows, tally)]
    read: list[Conversation] = []
    for tree in trees:
        found = table.read(tree, "oasst")
        assert table.shape_of(tree) == "oasst" and found.problems == [] and found.ignored == []
        read += [one.record() for one in found.records if isinstance(one, Drawn)]
    return trees, read, tally


def test_rows_that_share_turns_are_one_tree_in_which_each_turn_stands_once() -> None:
    rows = [said("q", "B"), said("q", "A", "more?", "D"), said("q", "A", "more?", "C", weights=[0])]
    (tree,), read, tally = there_and_back(rows)
    assert read == rows and tally == Tally(written=3)
    prompt = tree["prompt"]
    assert (prompt["text"], prompt["role"]) == ("q", "prompter")
    first, second = prompt["replies"]
    assert (first["text"], first["role"], first["replies"]) == ("B", "assistant", [])
    assert [reply["text"] for reply in second["replies"][0]["replies"]] == ["D", "C"]


def test_an_answer_on_two_paths_is_learned_once_and_other_weights_are_said_to_be_lost() -> None:
    _, read, tally = there_and_back([said("q", "A", "more?", "D"), said("q", "A", "more?", "C")])
    assert [[turn.weight for turn in row.messages] for row in read] == [[1, 1, 1, 1], [1, 0, 1, 1]]
    assert (tally.written, dict(tally.lost)) == (2, {"weights": 1})


def test_a_row_that_another_goes_on_from_or_repeats_is_left_out_by_name() -> None:
    long, short = said("q", "A", "more?", "D"), said("q", "A")
    for rows in ([long, short], [short, long], [long, long]):
        _, read, tally = there_and_back(rows)
        assert read == [long]
        assert (tally.written, dict(tally.left_out)) == (1, {"that another row goes on from, or repeats": 1})


def test_rows_of_other_tags_or_another_system_turn_are_trees_of_their_own() -> None:
    system = Message(role="system", content=" s")
    other = Conversation(messages=(system, *said("q", "A").messages), tags={"task": "x"})
    rows = [said("q", "A"), said("q", "A", task="y"), other]
    trees, read, tally = there_and_back(rows)
    assert len(trees) == 3 and len({tree["message_tree_id"] for tree in trees}) == 3
    assert read == rows and tally == Tally(written=3)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.builds(
            lambda texts, task, weights: said(*texts, task=task, weights=weights),
            st.integers(1, 3).flatmap(lambda n: st.lists(st.sampled_from("ab"), min_size=2 * n, max_size=2 * n)),
            st.sampled_from("xy"),
            st.lists(st.sampled_from([0.0, 1.0]), max_size=3),
        ),
        max_size=8,
    )
)
def test_every_row_comes_back_but_those_that_were_named(rows: list[Conversation]) -> None:
    trees, read, tally = there_and_back(rows)
    assert tally.written == len(read) == len(rows) - tally.left_out.total()
    assert len({(tree["prompt"]["text"], tree["tags"]["task"]) for tree in trees}) == len(trees)

    def told(row: Conversation, *, weights: bool) -> Told:
        turns = row.messages
        return tuple(turn.content for turn in turns), tuple(turn.weight for turn in turns if weights), row.tags["task"]

    assert {told(row, weights=False) for row in read} <= {told(row, weights=False) for row in rows}
    unchanged = {told(row, weights=True) for row in read} & {told(row, weights=True) for row in rows}
    assert len(read) - len(unchanged) <= tally.lost["weights"]


def test_the_command_says_how_many_trees_there_are(workspace: Workspace, tmp_path: Path, capsys: Any) -> None:
    rows: list[tuple[Conversation, Split]] = [(said("q", "A"), "train"), (said("q", "B"), "train")]
    datasets.write(workspace, "set", rows, config={}, facts={})
    out = tmp_path / "trees.jsonl"
    assert run(["data", "export", "set", "--as", "oasst", "--to", str(out), "--workspace", str(workspace.path)]) == 0
    assert capsys.readouterr().out.endswith("trees.jsonl: 2 records of set@v1 as oasst, in 1 tree\n")
    assert len(out.read_text().splitlines()) == 1
