"""``honed feedback``: what each command prints and writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from honed.cli.main import run
from honed.data.worker import work
from honed.store import artifacts, datasets
from honed.store.database import open_database
from honed.store.interactions import Interactions
from honed.store.workspace import Workspace
from tests.data.files import queued
from tests.store.said import answer, choice, consent, edit, thumb


@pytest.fixture
def store(workspace: Workspace) -> Iterator[Interactions]:
    """Five answers, four of which something was said of, one of them by someone who wasn't asked."""
    database = open_database(workspace)
    store = Interactions(database)
    for number, subject in enumerate(["ann", "ann", "ann", "bob", "ann"], 1):
        store.add(answer(f"i{number}", subject=subject, answer=f"It is {number} euros.", pair="p"))
    for event in (
        edit("e", "i1", text="1.00\neuros."),
        thumb("t", "i2", good=False, reason="<b>no</b> decimals"),
        choice("c", "i2", "i3"),
        edit("b", "i4", text="4.00 euros.", subject="bob"),
    ):
        store.add_feedback(event, [event.id])
    store.set_consent(consent())
    yield store
    database.close()


@pytest.fixture
def honed(store: Interactions, workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run ``honed feedback ARGS`` and return its stdout, or its stderr if it fails."""

    def command(*args: object) -> str:
        code = run(["feedback", *map(str, args), "--workspace", str(workspace.path)])
        said = capsys.readouterr()
        return f"exit {code}: {said.err}" if code else said.out

    return command


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_list_counts_and_shows_the_newest(honed: Callable[..., str]) -> None:
    first, header, *rows = honed("list").splitlines()
    assert first == (
        "5 answers (0 simulated) to 2 people; 1 thumbs, 2 edits, 1 choices; training allowed by 1, refused by 0"
    )
    assert header.split() == ["feedback", "when", "kind", "what", "answer"]
    assert [row.split()[0] for row in rows] == ["e", "t", "c", "b"]
    assert "1.00 euros." in rows[0]
    assert "not good: <b>no</b> decimals" in rows[1]
    assert "better than i3" in rows[2]
    assert [row.split()[0] for row in honed("list", "--last", 1).splitlines()[2:]] == ["b"]


def test_list_as_json(honed: Callable[..., str]) -> None:
    document = json.loads(honed("list", "--kind", "edit", "--json"))
    assert [event["id"] for event in document["feedback"]] == ["e", "b"]
    assert document["counts"]["feedback"] == {"thumb": 1, "edit": 2, "choice": 1}


def test_list_of_nothing_says_how_much_that_is(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["feedback", "list", "--workspace", str(workspace.path)]) == 0
    assert capsys.readouterr().out.startswith("0 answers (0 simulated) to 0 people; 0 thumbs")


@pytest.mark.parametrize("id_", ["i2", "t"])
def test_show_tells_an_answer_and_all_that_was_said_of_it(honed: Callable[..., str], id_: str) -> None:
    shown = honed("show", id_)
    for part in (
        "answer    i2",
        "desk@v1",
        "ann, allows training",
        "audience  expert",
        "system\n  Be short.",
        "user\n  The red chair.",
        "assistant\n  It is 2 euros.",
        "not good: <b>no</b> decimals",
        "better than i3",
    ):
        assert part in shown
    document = json.loads(honed("show", id_, "--json"))
    assert document["interaction"]["id"] == "i2"
    assert document["consent"] is True
    assert [event["id"] for event in document["feedback"]] == ["t", "c"]


def test_show_of_an_unknown_id_says_where_to_look(honed: Callable[..., str]) -> None:
    said = honed("show", "zebra")
    assert said == "exit 1: error: there is no answer and no feedback 'zebra'\n  See: honed feedback list\n"


def test_an_export_is_of_those_who_allow_it_and_can_be_imported(
    honed: Callable[..., str], workspace: Workspace, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    document = json.loads(honed("export", out, "--json"))
    assert document["files"] == {str(out): 3}
    assert document["left_out"] == {"the person doesn't allow training, or was never asked": 1}
    lines = _lines(out)
    assert [line["events"] for line in lines] == [["i1", "e"], ["i2", "t", "c"], ["i3", "c"]]
    assert [line["tags"]["feedback"] for line in lines] == ["edited", "chosen, thumb down", "not chosen"]
    assert lines[1]["feedback"][0]["reason"] == "<b>no</b> decimals"
    work(queued(workspace, [out], heldout=0.0), lambda: False)
    dataset = artifacts.resolve(workspace, "datasets", "set")
    assert [row.answer for row in datasets.rows(dataset, "train")] == [f"It is {number} euros." for number in (1, 2, 3)]


def test_a_derived_export_is_what_people_wrote_and_can_be_imported(
    honed: Callable[..., str], workspace: Workspace, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    document = json.loads(honed("export", "--derived", out, "--json"))
    pairs, ratings = tmp_path / "out.preferences.jsonl", tmp_path / "out.ratings.jsonl"
    assert document["files"] == {str(out): 1, str(pairs): 2, str(ratings): 1}
    assert list(document["left_out"]) == ["the person was never asked whether it may be used for training"]
    assert {line["chosen"] for line in _lines(pairs)} == {"1.00\neuros.", "It is 2 euros."}
    assert [line["good"] for line in _lines(ratings)] == [False]
    work(queued(workspace, [out], heldout=0.0), lambda: False)
    (row,) = datasets.rows(artifacts.resolve(workspace, "datasets", "set"), "train")
    assert row.answer == "1.00\neuros."
    assert [turn.weight for turn in row.messages if turn.role == "assistant"] == [0.0, 1.0]
    assert row.tags["source"] == "feedback"


def test_an_export_says_what_was_left_out(
    honed: Callable[..., str], tmp_path: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    assert run(["feedback", "export", str(out), "--workspace", str(workspace.path)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{out}: 3 lines\n"
    assert said.err == "left out 1: the person doesn't allow training, or was never asked\n"


def test_what_no_row_can_be_made_of_is_left_out_with_its_reason(
    honed: Callable[..., str], store: Interactions, tmp_path: Path
) -> None:
    store.add(answer("empty", answer=""))
    store.add_feedback(thumb("x", "empty", good=False), ["x"])
    document = json.loads(honed("export", tmp_path / "out.jsonl", "--json"))
    assert document["left_out"]["the answer is empty"] == 1


def test_a_file_that_is_there_is_not_written_over(honed: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("mine")
    (tmp_path / "new.ratings.jsonl").write_text("mine")
    for args in (["out.jsonl"], ["--derived", "out.jsonl"], ["--derived", "new.jsonl"]):
        assert "there is a file already" in honed("export", *args[:-1], tmp_path / args[-1])
    assert (tmp_path / "out.jsonl").read_text() == (tmp_path / "new.ratings.jsonl").read_text() == "mine"
    assert not (tmp_path / "new.jsonl").exists()


def test_a_folder_that_is_not_there_is_told(honed: Callable[..., str], tmp_path: Path) -> None:
    assert "can't be written: no such file or directory" in honed("export", tmp_path / "none" / "out.jsonl")


def test_another_database_can_be_named(
    honed: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = f"sqlite:///{tmp_path / 'other.db'}"
    assert honed("list", "--database", other).startswith("0 answers")
    monkeypatch.setenv("HONED_DATABASE", other)
    assert honed("list").startswith("0 answers")
    assert "no such database can be used" in honed("list", "--database", "zebra://x/y")
