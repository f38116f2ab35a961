"""Two datasets are compared by texts, answers, tags, splits and origins."""

from __future__ import annotations

import json

import pytest

from honed.cli.main import run
from honed.data.diff import counts, diff, origins
from honed.records import Conversation, Message, Preference, Rating
from honed.store import datasets
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace


def row(prompt: str, answer: str, **tags: str) -> Conversation:
    turns = (Message(role="user", content=prompt), Message(role="assistant", content=answer))
    return Conversation(messages=turns, tags=tags)


@pytest.fixture
def both(workspace: Workspace) -> tuple[Artifact, Artifact]:
    one = [
        (row("same", "a", task="qa"), "train"),
        (row("tagged", "a", task="qa", audience="child"), "train"),
        (row("moved", "a"), "train"),
        (row("changed", "old"), "train"),
        (row("gone", "a"), "heldout"),
    ]
    two = [
        (row("same", "a", task="qa"), "train"),
        (row("tagged", "a", task="sum", source="x"), "train"),
        (row("moved", "a"), "heldout"),
        (row("changed", "new"), "train"),
        (row("came", "b"), "train"),
        (row("came", "c"), "train"),
    ]
    first = datasets.write(workspace, "set", one, config={"seed": 1}, facts={"licences": {"set": "mit"}})  # type: ignore[arg-type]
    parents = {first.ref: first.manifest.hash}
    return first, datasets.write(workspace, "set", two, config={"seed": 2}, facts={}, parents=parents)  # type: ignore[arg-type]


def test_every_difference_is_found_once(both: tuple[Artifact, Artifact]) -> None:
    found = diff(*both)
    assert (found.same, len(found.added), len(found.removed), len(found.moved)) == (3, 2, 1, 1)
    ((before, after),) = found.answers
    assert (f"{before:016x}", f"{after:016x}") == (row("changed", "old").id, row("changed", "new").id)
    assert found.tags == {"audience": {"removed": 1}, "source": {"added": 1}, "task": {"changed": 1}}
    assert counts(found.other) == {
        "split": {"train": 5, "heldout": 1},
        "task": {"qa": 1, "sum": 1},
        "source": {"x": 1},
    }
    assert origins(*both)["settings"] == {"seed": [1, 2]}
    assert origins(*both)["parents"]["added"] == ["set@v1"]


def test_a_dataset_differs_in_nothing_from_itself(both: tuple[Artifact, Artifact]) -> None:
    found = diff(both[0], both[0])
    assert (found.same, found.added, found.removed, found.answers, found.tags) == (5, [], [], [], {})


def test_preferences_and_ratings_that_only_one_has_are_counted(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = [row(f"question {at}", "").prompt for at in range(3)]
    pairs = [Preference(prompt=prompt, chosen="a", rejected="b") for prompt in prompts]
    rating = Rating(prompt=prompts[0], answer="a", good=True)
    one = datasets.write(workspace, "set", [], config={}, facts={}, preferences=pairs[:2])
    two = datasets.write(workspace, "set", [], config={}, facts={}, preferences=pairs[1:], ratings=[rating])
    found = diff(one, two).others
    assert found["preferences"] == (1, [int(pairs[2].id, 16)], [int(pairs[0].id, 16)])
    assert found["ratings"] == (0, [int(rating.id, 16)], [])
    assert run(["data", "diff", "set@v1", "set@v2", "--workspace", str(workspace.path)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["preferences", "removed", "1"] in lines
    assert ["ratings", "added", "1"] in lines
    assert run(["data", "diff", "set@v1", "set@v2", "--json", "--workspace", str(workspace.path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["preferences"] == {"same": 1, "added": [pairs[2].id], "removed": [pairs[0].id]}


def test_the_command_shows_counts_and_examples(
    both: tuple[Artifact, Artifact], workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["data", "diff", "set@v1", "set@v2", "--workspace", str(workspace.path)]
    assert run(common) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    for wanted in (
        ["rows", "in", "both", "3"],
        ["removed", "1,", "1", "of", "them", "held", "out"],
        ["changed", "answers", "1"],
        ["task", "0", "0", "1"],
        ["task:", "qa", "2", "1", "-1"],
        ["parents", "of", "set@v2", "set@v1"],
        ["+", "new"],
        ["-", "gone"],
    ):
        assert wanted in lines, wanted
    assert run([*common, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["changed_answers"] == [[row("changed", "old").id, row("changed", "new").id]]
    assert found["counts"]["before"]["split"] == {"train": 4, "heldout": 1}
    assert run(["data", "diff", "set@v1", "set@v9", "--workspace", str(workspace.path)]) == 1
    assert "there is no set@v9" in capsys.readouterr().err
