"""An import writes one whole dataset, or nothing; everything left out is counted and kept with its reason."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from honed.config import build
from honed.data import dropped, worker
from honed.data.config import DataConfig
from honed.data.run import run
from honed.data.sources import packed
from honed.data.worker import work
from honed.errors import ConfigError, DataError, StoreError
from honed.jobs.events import Note, Step
from honed.jobs.worker import Stopped
from honed.store import artifacts, datasets
from honed.store.workspace import Workspace
from tests.data.files import alpaca, chat, queued, saved


def never() -> bool:
    return False


def lines(rows: list[Any]) -> str:
    return "\n".join(map(json.dumps, rows))


def test_an_import_reads_a_file_as_what_it_is_said_to_be(workspace: Workspace, tmp_path: Path) -> None:
    path = saved(tmp_path, "rows.txt", "prompt,a;response,a\nq;a\n")
    columns = {"prompt": "prompt,a", "response": "response,a"}
    result = work(queued(workspace, [path], container="csv", delimiter=";", columns=columns, heldout=0.0), never)
    assert (result["train"], result["sources"][0]["container"]) == (1, "CSV")
    with pytest.raises(ConfigError, match="one character"):
        build(DataConfig, {"name": "set", "files": ["a.csv"], "delimiter": "ab"}, "test")


def both(workspace: Workspace, ref: str) -> tuple[list[str], list[str]]:
    """The answers of the train and the held-out rows."""
    dataset = artifacts.resolve(workspace, "datasets", ref)
    return [row.answer for row in datasets.rows(dataset, "train")], [
        row.answer for row in datasets.rows(dataset, "heldout")
    ]


def test_rows_become_a_dataset_with_its_facts(workspace: Workspace, tmp_path: Path) -> None:
    rows = [alpaca(number, category="qa") for number in range(200)]
    path = saved(tmp_path, "rows.json", json.dumps([*rows, rows[3], alpaca(5, output="another")], indent=1))
    job = queued(workspace, [path])
    result = work(job, never)
    assert (result["dataset"], result["new"], result["rows"]) == ("set@v1", True, 202)
    assert (result["duplicates"], result["same_prompt"], result["dropped"]) == (1, 1, {"duplicate": 1})
    train, heldout = both(workspace, "set")
    assert (len(train), len(heldout)) == (result["train"], result["heldout"])
    assert sorted([*train, *heldout]) == sorted([*(row["output"] for row in rows), "another"])
    (source,) = result["sources"]
    assert source["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (source["shape"], source["rows"], source["bytes"]) == ("alpaca", 202, path.stat().st_size)
    facts = artifacts.resolve(workspace, "datasets", "set@v1").manifest.facts
    ran = ("dataset", "new", "cpu_seconds", "largest_child_bytes")
    assert facts == {key: value for key, value in result.items() if key not in ran}
    said = [event.text for event in job.events() if isinstance(event, Note)]
    assert len(said) == 1
    assert said[0].endswith("rows.json: JSON array, Alpaca: 202 of 202 rows have instruction and output")


def test_another_import_is_the_next_version_and_the_same_one_is_none(workspace: Workspace, tmp_path: Path) -> None:
    path = saved(tmp_path, "rows.jsonl", lines([alpaca(1), alpaca(2)]))
    assert work(queued(workspace, [path]), never)["dataset"] == "set@v1"
    again = work(queued(workspace, [path]), never)
    assert (again["dataset"], again["new"]) == ("set@v1", False)
    other = saved(tmp_path, "more.jsonl", lines([alpaca(3)]))
    assert work(queued(workspace, [path, other]), never)["dataset"] == "set@v2"


def test_a_licence_declared_for_the_same_data_is_a_new_version(workspace: Workspace, tmp_path: Path) -> None:
    path = saved(tmp_path, "rows.jsonl", lines([alpaca(1), alpaca(2)]))
    found = [work(queued(workspace, [path], licence=licence), never) for licence in (None, "mit", "mit", "cc0-1.0")]
    assert [one["dataset"] for one in found] == ["set@v1", "set@v2", "set@v2", "set@v3"]
    assert found[1]["licences"] == {"set": "mit"}
    one, two = (artifacts.resolve(workspace, "datasets", ref).manifest for ref in ("set@v1", "set@v2"))
    assert one.hash == two.hash  # what is trained on is the same


def test_files_of_different_shapes_are_one_dataset(workspace: Workspace, tmp_path: Path) -> None:
    first = saved(tmp_path, "a.jsonl", lines([alpaca(1)]))
    second = saved(tmp_path, "b.jsonl", lines([chat(("user", "q"), ("assistant", "a"))]))
    result = work(queued(workspace, [first, second], heldout=0.0), never)
    assert [source["shape"] for source in result["sources"]] == ["alpaca", "messages"]
    assert both(workspace, "set") == (["answer 1", "a"], [])


def test_any_fault_stops_the_import_and_nothing_is_written(workspace: Workspace, tmp_path: Path) -> None:
    rows = [alpaca(1), alpaca(2, output=""), chat(("user", "q")), alpaca(4)]
    path = saved(tmp_path, "rows.jsonl", lines(rows) + "\n{oops")
    job = queued(workspace, [path])
    with pytest.raises(DataError) as caught:
        work(job, never)
    assert caught.value.message.startswith("3 faults in 5 rows; the first: ")
    assert caught.value.message.endswith("rows.jsonl:2: output: the answer is empty")
    assert "Nothing was imported; --allow-faults" in caught.value.hint
    assert [fault.line for fault, _ in dropped.read(job.path)] == [2, 3, 5]
    assert not list(workspace.datasets.rglob("*"))


def test_a_single_fault_is_an_error_of_two_lines(workspace: Workspace, tmp_path: Path) -> None:
    path = saved(tmp_path, "rows.jsonl", lines([alpaca(1), alpaca(2, output="")]))
    with pytest.raises(DataError) as caught:
        work(queued(workspace, [path]), never)
    assert caught.value.message.endswith("rows.jsonl:2: output: the answer is empty")
    assert "\n" not in caught.value.message + caught.value.hint


def test_faults_that_are_allowed_are_counted_and_kept_with_their_rows(workspace: Workspace, tmp_path: Path) -> None:
    bad = json.dumps(alpaca(2, output=""))
    path = saved(
        tmp_path,
        "rows.jsonl",
        lines([alpaca(1)])
        + f"\n{bad}\n{{oops\n".replace("oops", "o\udcffps").encode(errors="surrogateescape").decode("latin-1"),
    )
    result = work(queued(workspace, [path], allow_faults=True, heldout=0.0), never)
    assert result["dropped"] == {"empty answer": 1, "not JSON": 1}
    left = list(dropped.read(artifacts.resolve(workspace, "datasets", "set").path))
    assert [(fault.line, fault.kind) for fault, _ in left] == [(2, "empty answer"), (3, "not JSON")]
    assert left[0][1] == bad
    assert both(workspace, "set") == (["answer 1"], [])


def test_no_usable_row_is_an_error_although_faults_are_allowed(workspace: Workspace, tmp_path: Path) -> None:
    path = saved(tmp_path, "rows.jsonl", lines([alpaca(1, output="")]))
    with pytest.raises(DataError, match="no usable row"):
        work(queued(workspace, [path], allow_faults=True), never)
    assert not list(workspace.datasets.rglob("*"))


def test_held_out_rows_of_a_file_are_taken_as_they_are_and_leaks_left_out(workspace: Workspace, tmp_path: Path) -> None:
    train = saved(tmp_path, "train.jsonl", lines([alpaca(1), alpaca(2), alpaca(2, output="other"), alpaca(3)]))
    test = saved(tmp_path, "test.jsonl", lines([alpaca(2), alpaca(9)]))
    result = work(queued(workspace, [train], heldout_file=str(test)), never)
    assert both(workspace, "set") == (["answer 1", "answer 3"], ["answer 2", "answer 9"])
    assert result["dropped"] == {"leak": 2}
    left = list(dropped.read(artifacts.resolve(workspace, "datasets", "set").path))
    assert [(fault.line, fault.kind) for fault, _ in left] == [(2, "leak"), (3, "leak")]


def test_a_conversation_that_begins_with_a_held_out_row_is_a_leak(workspace: Workspace, tmp_path: Path) -> None:
    begun = chat(("user", "question 2"), ("assistant", "answer 2"), ("user", "and 3?"), ("assistant", "answer 3"))
    other = chat(("user", "question 4"), ("assistant", "answer 4"), ("user", "question 2"), ("assistant", "answer 2"))
    train = saved(tmp_path, "train.jsonl", lines([begun, other]))
    test = saved(tmp_path, "test.jsonl", lines([alpaca(2)]))
    result = work(queued(workspace, [train], heldout_file=str(test)), never)
    assert (result["train"], result["heldout"], result["dropped"]) == (1, 1, {"leak": 1})


def test_rows_of_several_files_are_tagged_with_theirs_unless_they_name_a_source(
    workspace: Workspace, tmp_path: Path
) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
    own = alpaca(3, source="forum")
    files = [
        saved(tmp_path / "x", "rows.jsonl", lines([alpaca(1), alpaca(2), own])),
        saved(tmp_path / "y", "rows.jsonl", lines([alpaca(4)])),
        saved(tmp_path, "pairs.csv", "prompt,chosen,rejected\nq,a,b\n"),
    ]
    result = work(queued(workspace, files, heldout=0.0), never)
    dataset = artifacts.resolve(workspace, "datasets", "set")
    found = [row.tags["source"] for row in datasets.rows(dataset, "train")]
    assert found == ["x/rows.jsonl", "x/rows.jsonl", "forum", "y/rows.jsonl"]
    assert [pair.tags for pair in datasets.preferences(dataset)] == [{"source": "pairs.csv"}]
    assert result["counts"]["source"] == {
        "x/rows.jsonl": {"train": 2},
        "forum": {"train": 1},
        "y/rows.jsonl": {"train": 1},
    }
    work(queued(workspace, files[:1], name="one", heldout=0.0), never)
    first = next(datasets.rows(artifacts.resolve(workspace, "datasets", "one"), "train"))
    assert "source" not in first.tags  # a single file tells nothing apart


def test_equal_rows_are_kept_once_wherever_they_stand(workspace: Workspace, tmp_path: Path) -> None:
    rows = [alpaca(number) for number in range(64)]
    path = saved(tmp_path, "rows.json", json.dumps([*rows, *rows, rows[5]]))  # json.dump writes a list on one line
    again = saved(tmp_path, "again.jsonl", lines(rows[:3]))
    result = work(queued(workspace, [path, path, again], heldout=0.0), never)
    assert (result["train"], result["dropped"]) == (64, {"duplicate": 64 + 1 + 129 + 3})
    left = [fault for fault, _ in dropped.read(artifacts.resolve(workspace, "datasets", "set").path)]
    assert str(left[5]) == f"{left[5].file}:1: row 70: the same as {left[5].file}: row 6"
    assert str(left[-1]) == f"{left[-1].file}:3: row: the same as {left[5].file}: row 3"


def _weighed(number: int, *weights: float) -> dict[str, Any]:
    said = chat(("user", f"q{number}"), ("assistant", "a"), ("user", "r"), ("assistant", "b"))
    for turn, weight in zip(said["messages"][1::2], weights, strict=True):
        turn["weight"] = weight
    return said


def test_of_rows_that_differ_in_weights_only_one_is_kept_with_the_largest(workspace: Workspace, tmp_path: Path) -> None:
    usual = [_weighed(number, 1, 1) for number in range(3)]
    rows = [_weighed(0, 0, 1), _weighed(1, 0.5, 3), usual[2], _weighed(3, 0, 1), alpaca(1), *usual[:2]]
    paths = [
        saved(tmp_path, "one.jsonl", lines([one for one in rows if "messages" in one])),
        saved(tmp_path, "two.jsonl", lines([_weighed(2, 0, 1), _weighed(3, 0.25, 0), _weighed(3, 0, 2)])),
        saved(tmp_path, "three.jsonl", lines([alpaca(1), alpaca(1, loss_weight=2), *[alpaca(2, loss_weight=0.1)] * 2])),
    ]
    result = work(queued(workspace, paths, heldout=0.0), never)
    dataset = artifacts.resolve(workspace, "datasets", "set")
    kept = list(datasets.rows(dataset, "train"))
    weights = [[turn.weight for turn in row.messages[1::2]] for row in kept]
    assert weights == [[1, 1], [1, 3], [1, 1], [0.25, 2], [2], [pytest.approx(0.1)]]
    assert {turn.weight for row in kept for turn in row.messages[::2]} == {1}
    assert (result["train"], result["dropped"]) == (6, {"duplicate": 7})
    told = [str(fault).split(": ")[-1] for fault, _ in dropped.read(dataset.path)]
    assert [one.rpartition("/")[2] for one in told] == [
        "one.jsonl:1, whose answers have the larger weights of both",
        "one.jsonl:2, whose answers have the larger weights of both",
        "one.jsonl:3",
        "one.jsonl:4, whose answers have the larger weights of both",
        "one.jsonl:4, whose answers have the larger weights of both",
        "three.jsonl:1, whose answers have the larger weights of both",
        "three.jsonl:3",
    ]


def test_the_embedded_set_comes_with_its_own_split(workspace: Workspace) -> None:
    from honed.builtin.load import load

    result = work(queued(workspace, [Path("builtin")]), never)
    assert (result["train"], result["heldout"]) == (len(load("train")), len(load("heldout")))
    dataset = artifacts.resolve(workspace, "datasets", "set")
    rows = list(datasets.rows(dataset, "heldout"))
    assert [row.model_copy(update={"declared": {}}) for row in rows] == load("heldout")
    assert rows[0].declared == {"audience": "column tags.audience"}


def test_a_stop_leaves_nothing_half_written(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(packed, "_CHUNK", 10_000)
    path = saved(tmp_path, "rows.jsonl", lines([alpaca(number) for number in range(2000)]))
    job, asked = queued(workspace, [path]), iter([False, False])
    with pytest.raises(Stopped):
        work(job, lambda: next(asked, True))
    assert not list(workspace.datasets.rglob("*"))
    steps = [event for event in job.events() if isinstance(event, Step)]
    assert steps
    assert steps[0].total == path.stat().st_size
    assert work(job, never)["rows"] == 2000


def test_a_missing_file_and_a_bad_name_are_told_with_nothing_written(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: no such file"):
        run(workspace, DataConfig(name="set", files=("none.json",)))
    assert not list(workspace.jobs.iterdir())
    path = saved(tmp_path, "rows.jsonl", lines([alpaca(1)]))
    with pytest.raises(StoreError, match="can't be a name"):
        work(queued(workspace, [path], name="Not A Name"), never)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"heldout": 0.1, "heldout_file": "x"}, "can't both be given"),
        ({"files": ("builtin", "x")}, "'builtin' has its own"),
        ({"files": ("builtin",), "heldout": 0.2}, "'builtin' has its own"),
        ({"heldout": 1.1}, "heldout"),
        ({"files": ()}, "files"),
        ({"shap": "alpaca"}, "unknown key 'shap'"),
    ],
)
def test_settings_that_can_not_be_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build(DataConfig, {"name": "set", "files": ("a",), **settings}, "data")
