"""``honed data``: what each command prints, where, and how it exits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from honed.cli.main import run
from honed.data.shapes.table import SHAPES
from honed.data.worker import work
from honed.models import load
from honed.records import Conversation, Message, Preference, Split
from honed.store import datasets
from honed.store.workspace import Workspace
from tests.data.curated import said, stored
from tests.data.files import alpaca, queued, saved


@pytest.fixture
def imported(workspace: Workspace, tmp_path: Path) -> Workspace:
    """A workspace with the dataset ``set@v1``: three training rows and one left out."""
    rows = [alpaca(1, category="qa"), alpaca(2), alpaca(3, output=""), alpaca(4)]
    path = saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, rows)))
    work(queued(workspace, [path], allow_faults=True, heldout=0.0), lambda: False)
    return workspace


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any model's chat format is the tiny one."""
    from honed.models.chat import from_tokenizer
    from tests.tiny import tiny_tokenizer

    chat = from_tokenizer(tiny_tokenizer())
    monkeypatch.setattr(load, "load_chat", lambda *_, **__: chat)


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_import_runs_as_a_job_and_says_what_it_found(workspace: Workspace, tmp_path: Path, capfd: Any) -> None:
    rows = [alpaca(number) for number in range(50)]
    path = saved(tmp_path, "rows.json", json.dumps([*rows, rows[0]]))
    assert run(["data", "import", str(path), "--as", "set", "--workspace", str(workspace.path)]) == 0
    said = capfd.readouterr().err
    assert "Alpaca: 51 of 51 rows have instruction and output" in said
    assert "1 exact duplicates merged, of 51 read" in said
    assert "honed train --base MODEL --data set@v1" in said


def test_import_with_faults_lists_them_all_and_exits_1(workspace: Workspace, tmp_path: Path, capfd: Any) -> None:
    rows = [alpaca(number, output="" if number % 2 else "a") for number in range(60)]
    path = saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, rows)))
    assert run(["data", "import", str(path), "--as", "set", "--json", "--workspace", str(workspace.path)]) == 1
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert [fault["line"] for fault in found["faults"]] == list(range(2, 61, 2))
    assert set(found["faults"][0]) == {"file", "line", "field", "kind", "message", "hint", "severity"}
    assert "30 faults in 60 rows" in found["error"]["message"]
    assert "--allow-faults" in err
    assert not list(workspace.datasets.rglob("*"))


def test_import_of_a_missing_file_is_two_lines(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "import", "none.json", "--as", "set", "--workspace", str(workspace.path)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: none.json: no such file",
        "  Check the path; it is read from the current folder.",
    ]


def test_check_counts_and_lists_every_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [alpaca(number, output="" if number > 4 else "a") for number in range(30)]
    path = saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, rows)))
    assert run(["data", "check", str(path), "--json"]) == 1
    found = document(capsys)
    assert (found["rows"], found["usable"], found["kinds"]) == (30, 5, {"empty answer": 25})
    assert [fault["line"] for fault in found["faults"]] == list(range(6, 31))
    assert run(["data", "check", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out.endswith("rows.jsonl: 5 of 30 rows usable, 25 faults, 0 warnings\n")
    assert err.count("the answer is empty") == 20
    assert "and 5 more" in err


def test_check_names_the_fields_that_nothing_reads_of_each_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = saved(tmp_path, "one.jsonl", "\n".join(map(json.dumps, [alpaca(1, rank=1), alpaca(2, rank=2, prompt="p")])))
    two = saved(tmp_path, "two.jsonl", json.dumps(alpaca(3)))
    assert run(["data", "check", str(one), str(two)]) == 0
    said = capsys.readouterr().err
    assert f"{one}: not read: rank (2), prompt (1)\n" in said
    assert said.count("not read") == 1


def test_check_names_the_rows_of_an_array_that_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [alpaca(1), alpaca(2), {"instruction": "a", "output": 7}, alpaca(1)]
    path = saved(tmp_path, "rows.json", json.dumps(rows)[:-1] + ', {"instruction": NaN}, {"output": "b"}]')
    assert run(["data", "check", str(path)]) == 1
    told = capsys.readouterr()
    assert "rows.json:1: row 3: output: a text is needed here, not a number" in told.err
    assert "rows.json:1: row 5: instruction: NaN isn't a JSON number" in told.err
    assert "rows.json:1: row 4: the same row stands in row 1." in told.err
    assert run(["data", "check", str(path), "--json"]) == 1
    assert [fault["row"] for fault in json.loads(capsys.readouterr().out)["faults"]] == [3, 4, 5, 6]


def test_check_of_a_good_file_exits_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path, "rows.json", json.dumps([alpaca(1)]))
    assert run(["data", "check", str(path)]) == 0
    assert capsys.readouterr().out.endswith("1 of 1 rows usable, 0 faults, 0 warnings\n")


def test_list_shows_datasets_with_their_counts(imported: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "list", "--workspace", str(imported.path)]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:4] == ["set@v1", "3", "0", "1"]
    assert run(["data", "list", "--json", "--workspace", str(imported.path)]) == 0
    assert document(capsys)[0]["dataset"] == "set@v1"


def test_dropped_shows_what_was_left_out_and_why(imported: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "dropped", "set", "--workspace", str(imported.path)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith("rows.jsonl:3: output: the answer is empty")
    assert json.loads(out[1]) == alpaca(3, output="")
    assert run(["data", "dropped", "set@v1", "--json", "--workspace", str(imported.path)]) == 0
    assert document(capsys)["dropped"][0]["faults"][0]["line"] == 3


def test_a_row_with_two_faults_is_left_out_once_with_both_and_found_by_either(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = alpaca(2, instruction=" ", output="")
    path = saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, [alpaca(1), bad, alpaca(3, output="")])))
    result = work(queued(workspace, [path], allow_faults=True, heldout=0.0), lambda: False)
    assert sum(result["dropped"].values()) == 2
    args = ["data", "dropped", "set", "--workspace", str(workspace.path)]
    assert run([*args, "--json"]) == 0
    found = document(capsys)
    assert [[fault["kind"] for fault in one["faults"]] for one in found["dropped"]] == [
        ["empty prompt", "empty answer"],
        ["empty answer"],
    ]
    assert (found["left_out"], found["reasons"]) == (2, {"empty answer": 2, "empty prompt": 1})
    assert run([*args, "--reason", "empty prompt"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out.splitlines()[2]) == bad
    assert told.err.endswith("set@v1: 1 left out: empty prompt\n")
    assert run([*args, "--limit", "1"]) == 0
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 3
    assert told.err.endswith("2 left out: 2 empty answer, 1 empty prompt; 1 of them shown\n")
    assert run([*args, "--reason", "leak"]) == 1
    assert "The reasons are: empty prompt, empty answer." in capsys.readouterr().err


@pytest.mark.usefixtures("tiny")
def test_show_marks_what_is_supervised_and_counts_it(imported: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "show", "set", "--model", "any", "--rows", "1", "--workspace", str(imported.path)]) == 0
    out = capsys.readouterr().out
    assert "⟦answer 1<|im_end|>⟧" in out
    assert "<|im_start|>user\nquestion 1<|im_end|>" in out
    assert "task=qa" in out
    assert "9 supervised, stop <|im_end|> (257)" in out


@pytest.mark.usefixtures("tiny")
def test_show_gives_the_same_as_json(imported: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["data", "show", "set", "--model", "any", "--rows", "9", "--json", "--workspace", str(imported.path)]
    assert run(args) == 0
    rows = document(capsys)["rows"]
    assert len(rows) == 3
    supervised = ["".join(piece["text"] for piece in row["pieces"] if piece["supervised"]) for row in rows]
    assert supervised == [f"answer {number}<|im_end|>" for number in (1, 2, 4)]
    assert rows[0]["supervised"] == len("answer 1") + 1


@pytest.mark.usefixtures("tiny")
def test_show_says_why_a_row_can_not_be_trained_on(workspace: Workspace, tmp_path: Path, capsys: Any) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 0}]
    path = saved(tmp_path, "rows.jsonl", json.dumps({"messages": turns}))
    work(queued(workspace, [path], heldout=0.0), lambda: False)
    assert run(["data", "show", "set", "--model", "any", "--workspace", str(workspace.path)]) == 0
    assert "can't be trained on: no assistant token carries a loss" in capsys.readouterr().out


@pytest.mark.usefixtures("tiny")
def test_show_finds_a_row_of_either_split_or_a_preference_by_how_its_id_begins_and_refuses_what_names_none_or_two(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[tuple[Conversation, Split]] = [(said(f"q{n}", f"a{n}"), "train") for n in range(40)]
    held = said("held", "out")
    pair = Preference(prompt=(Message(role="user", content="which"),), chosen="this", rejected="that")
    datasets.write(workspace, "set", [*rows, (held, "heldout")], config={}, facts={}, preferences=[pair])
    asked = ["data", "show", "set", "--model", "any", "--workspace", str(workspace.path), "--row"]
    for start, texts in ((rows[30][0].id, ["a30"]), (held.id[:12], ["out"]), (pair.id[:12], ["this", "that"])):
        assert run([*asked, start]) == 0
        out = capsys.readouterr().out
        assert out.count("⟦") == len(texts) and all(f"⟦{text}<|im_end|>⟧" in out for text in texts)
    assert run([*asked, ""]) == 1
    assert "both begin with ''" in capsys.readouterr().err
    assert run([*asked, "zebra"]) == 1
    err = capsys.readouterr().err
    assert "set@v1 has no row whose id begins with 'zebra'" in err and "left_out.jsonl" in err


def test_every_shape_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("import", "check"):
        assert run(["data", name, "--help"]) == 0
        assert f"[{'|'.join(SHAPES)}]" in "".join(capsys.readouterr().out.split())


def test_curate_shows_what_each_step_did_and_the_dropped_rows_are_listed(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(workspace, [said("Where?", "Here it is."), said("where?", "here it is."), said("Mail a@x.org", "Done it.")])
    common = ["--workspace", str(workspace.path)]
    assert run(["data", "curate", "set", "--as", "clean", "--set", "near.threshold=0.8", *common]) == 0
    out, err = capsys.readouterr()
    head, *lines = out.splitlines()
    assert head.split() == ["step", "rows", "in", "dropped", "rows", "out", "changed", "reported", "seconds"]
    assert [line.split()[:6] for line in lines if line.startswith(("exact", "pii"))] == [
        ["pii", "3", "0", "3", "1", "0"],
        ["exact", "3", "1", "2", "0", "0"],
    ]
    assert "clean@v1: 2 of 3 training rows; 0 held out, untouched" in err
    assert run(["data", "dropped", "clean", *common]) == 0
    assert "set@v1:2: row: the same as row" in capsys.readouterr().out
    assert run(["data", "curate", "set", "--as", "clean", "--set", "near.threshold=0.8", "--json", *common]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["dataset"], document["new"], document["from"]) == ("clean@v1", False, "set@v1")
    assert {step["step"]: step["seconds"] >= 0 for step in document["steps"]}["near"]
    assert run(["data", "curate", "set", "--as", "x", "--set", "near.treshold=0.8", *common]) == 1
    assert "Did you mean 'threshold'?" in capsys.readouterr().err
