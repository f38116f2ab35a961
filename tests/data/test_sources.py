"""Where rows come from: packed and recoded files, folders, patterns, the hub, and fields of any name."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from honed.cli.main import run
from honed.data.mapping import ColumnMap, parsed
from honed.data.sources import hub
from honed.data.sources.find import found
from honed.data.worker import work
from honed.errors import DataError
from honed.jobs.events import Note
from honed.store import artifacts, datasets
from honed.store.workspace import Workspace
from tests.data.files import alpaca, chat, faults, queued, saved, taken

ROWS = [alpaca(number) for number in range(5)]
LINES = "\n".join(map(json.dumps, ROWS))


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def test_zstd_is_unpacked_and_one_cut_short_gives_its_sound_rows(tmp_path: Path) -> None:
    survey, good, wrong = taken(saved(tmp_path, "rows.jsonl.zst", zstd(LINES.encode())))
    assert (str(survey.container), len(good), wrong) == ("JSON lines, zstd", 5, [])
    many = "\n".join(json.dumps(alpaca(number, output=f"{number * 7919 % 10007} " * 9)) for number in range(15_000))
    data = zstd(many.encode())
    for share in (8, 2):
        _, good, (fault,) = taken(saved(tmp_path, "cut.zst", data[: len(data) // share]))
        assert 0.6 * 15_000 / share < len(good) < 15_000
        assert (fault.line, fault.kind) == (len(good) + 1, "truncated zstd")


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_read_and_said(codec: str, tmp_path: Path) -> None:
    path = saved(tmp_path, "rows.jsonl", LINES.replace("answer 3", "añswer 3").encode(codec))
    survey, good, wrong = taken(path)
    assert [one.row.answer for one in good][3] == "añswer 3"
    assert wrong == []
    assert [(one.kind, one.severity) for one in survey.notes()] == [("encoding", "warning")]


def test_a_byte_order_mark_is_read_and_said(tmp_path: Path) -> None:
    survey, good, _ = taken(saved(tmp_path, "rows.jsonl", b"\xef\xbb\xbf" + LINES.encode()))
    assert len(good) == 5
    assert "byte order mark" in survey.notes()[0].message
    assert taken(saved(tmp_path, "plain.jsonl", LINES))[0].notes() == []


def test_folders_and_patterns_stand_for_the_files_in_them(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.jsonl", "a.csv", "deep/c.parquet", "d.json.gz", "e.tsv.zst", "notes.txt", ".hidden.json", "x.gz"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    names = [str(Path(one).relative_to(tmp_path / "data")) for one in found(["data"])]
    assert names == ["a.csv", "b.jsonl", "d.json.gz", "deep/c.parquet", "e.tsv.zst"]
    assert [Path(one).name for one in found(["data/*.jsonl", "data/b.jsonl"])] == ["b.jsonl"]
    assert [Path(one).name for one in found(["data/**/*.parquet"])] == ["c.parquet"]
    for wrong, said in (("none", "no such file"), ("data/*.xml", "no file matches"), ("hub:a/b/c", "not the name")):
        with pytest.raises(DataError, match=said) as caught:
            found([wrong])
        assert caught.value.hint


def test_a_folder_is_imported_as_one_dataset(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    saved(tmp_path / "in", "a.jsonl", LINES)
    saved(tmp_path / "in", "b.csv", "question,answer\nwhy?,because\n")
    assert run(["data", "import", str(tmp_path / "in"), "--as", "set", "--workspace", str(workspace.path)]) == 0
    dataset = artifacts.resolve(workspace, "datasets", "set")
    assert sum(len(list(datasets.rows(dataset, split))) for split in ("train", "heldout")) == 6  # type: ignore[arg-type]
    assert [source["container"] for source in dataset.manifest.facts["sources"]] == ["JSON lines", "CSV"]


def test_fields_of_any_name_are_read_by_a_map(tmp_path: Path) -> None:
    columns = ColumnMap(parsed(("instruction=q,output=data.a", "task=topic")))
    rows = [{"q": f"q{n}", "data": {"a": f"a{n}" if n else "", "b": 1}, "topic": "t", "output": "no"} for n in range(3)]
    path = saved(tmp_path, "rows.json", json.dumps(rows, indent=1))
    survey, good, wrong = taken(path, columns=columns)
    assert survey.manner.shape == "alpaca"
    assert [(one.row.prompt[0].content, one.row.answer, dict(one.row.tags)) for one in good] == [
        ("q1", "a1", {"task": "t"}),
        ("q2", "a2", {"task": "t"}),
    ]
    line = next(number for number, text in enumerate(path.read_text().split("\n"), 1) if '"a": ""' in text)
    assert [(one.line, one.field) for one in wrong] == [(line, "data.a")]


def test_a_column_with_a_dot_in_its_name_is_mapped(tmp_path: Path) -> None:
    columns = ColumnMap(parsed(("prompt=user.text,response=bot.text",)))
    table = saved(tmp_path, "rows.csv", 'user.text,bot.text,user\n"q\nr",a,x\n"q\nr","\n ",x\n')
    survey, good, wrong = taken(table, columns=columns)
    assert [(one.row.prompt[0].content, one.row.answer) for one in good] == [("q\nr", "a")]
    assert [(one.line, one.field) for one in wrong] == [(5, "bot.text")]
    assert survey.counts.ignored == {"user": 1}
    rows = [
        {"user.text": "q", "bot.text": "a", "user": {"text": "no"}},
        {"user": {"text": "q2"}, "bot": {"text": "a2"}},
    ]
    _, good, wrong = taken(saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, rows))), columns=columns)
    assert [(one.row.prompt[0].content, one.row.answer) for one in good] == [("q", "a"), ("q2", "a2")]


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("instruction", "not a NAME=FIELD", "Write --map"),
        ("instructin=q", "no shape has a field 'instructin'", "Did you mean instruction?"),
        ("zebra=q", "no shape has a field", "Use names such as"),
    ],
)
def test_a_map_that_can_not_be_read_is_told(text: str, said: str, hint: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        parsed((text,))
    assert caught.value.hint.startswith(hint)


def fake(monkeypatch: Any, **behaviour: Any) -> None:
    """Put a library ``datasets`` in place that behaves as said."""
    errors = SimpleNamespace(
        DatasetsError=type("DatasetsError", (Exception,), {}),
        DatasetNotFoundError=type("DatasetNotFoundError", (FileNotFoundError,), {}),
    )
    module: Any = ModuleType("datasets")
    module.exceptions = errors
    module.config = SimpleNamespace(HF_HUB_OFFLINE=True)

    def builder(name: str, config: str | None) -> Any:
        raised = behaviour.get("raises")
        if raised:
            raise getattr(errors, raised, ConnectionError)("nothing")
        splits = behaviour["splits"]
        return SimpleNamespace(
            info=SimpleNamespace(splits=dict.fromkeys(splits), license=behaviour.get("license", "")),
            download_and_prepare=lambda: None,
            as_dataset=lambda split: splits[split],
        )

    module.load_dataset_builder = builder
    monkeypatch.setitem(sys.modules, "datasets", module)


@pytest.mark.parametrize(
    ("behaviour", "source", "said", "hint"),
    [
        ({"raises": "DatasetNotFoundError"}, "hub:org/none", "no such dataset", "Check the name"),
        ({"raises": "ConnectionError"}, "hub:org/some", "can't be reached", "Check the network"),
        ({"raises": "DatasetsError"}, "hub:org/some", "can't be read: nothing", "Write hub:"),
        ({"splits": {"train": 0, "test": 0}}, "hub:org/some@dev", "no split 'dev'", "@test, train"),
        ({"splits": {"dev": 0, "test": 0}}, "hub:org/some", "no split 'train'", "@dev, test"),
    ],
)
def test_a_hub_dataset_that_can_not_be_had_is_two_plain_sentences(
    behaviour: Any, source: str, said: str, hint: str, monkeypatch: Any, capsys: Any
) -> None:
    fake(monkeypatch, **behaviour)
    assert run(["data", "check", source]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert source in first
    assert said in first
    assert hint in second


def test_without_the_library_the_hub_says_what_to_install(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match="not installed") as caught:
        taken(Path("hub:org/some"))
    assert "honed[hub]" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("hub:squad", ("squad", "", "")),
        ("hub:org/name", ("org/name", "", "")),
        ("hub:org/name@test", ("org/name", "", "test")),
        ("hub:org/name:main.v2@test", ("org/name", "main.v2", "test")),
    ],
)
def test_the_name_of_a_hub_dataset_may_say_configuration_and_split(text: str, ref: tuple[str, ...]) -> None:
    assert hub.parsed(text) == ref


def test_a_hub_dataset_is_read_through_the_library(workspace: Workspace, tmp_path: Path, monkeypatch: Any) -> None:
    library = pytest.importorskip("datasets", reason="the extra hub isn't installed")
    rows = [alpaca(1), alpaca(2, output=None), {**alpaca(3), "input": "more"}]
    splits = {"train": library.Dataset.from_list(rows), "test": library.Dataset.from_list(rows[:1])}
    fake(monkeypatch, splits=splits)
    job = queued(workspace, [Path("hub:org/some")], heldout=0.0, allow_faults=True)
    result = work(job, lambda: False)
    assert (result["rows"], result["train"], result["dropped"]) == (3, 2, {"missing field": 1})
    assert result["sources"][0]["container"] == "hub dataset"


class Rows:
    """Rows as the library hands them out."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.table, self.num_rows = pa.Table.from_pylist(rows), len(rows)

    def with_format(self, _format: str) -> Rows:
        return self

    def iter(self, _size: int) -> list[pa.Table]:
        return [self.table]


@pytest.mark.parametrize(
    ("files", "more", "expected"),
    [
        (["hub:org/some"], {}, {"set": "cc-by-sa-3.0"}),
        (["hub:org/some"], {"licence": "mit"}, {"set": "mit"}),
        (["hub:org/some", "x.jsonl"], {}, {"hub:org/some": "cc-by-sa-3.0", "set": "not declared"}),
    ],
)
def test_a_hub_dataset_brings_the_licence_that_it_declares(
    files: list[str], more: Any, expected: Any, workspace: Workspace, tmp_path: Path, monkeypatch: Any
) -> None:
    fake(monkeypatch, splits={"train": Rows([alpaca(1), alpaca(2)])}, license="cc-by-sa-3.0")
    saved(tmp_path, "x.jsonl", json.dumps(alpaca(9)))
    paths = [Path(name) if name.startswith("hub:") else tmp_path / name for name in files]
    job = queued(workspace, paths, heldout=0.0, **more)
    result = work(job, lambda: False)
    assert result["licences"] == expected
    said = [event.text for event in job.events() if isinstance(event, Note)]
    assert "hub:org/some: its licence is cc-by-sa-3.0, says the hub" in said


def test_the_library_reads_a_folder_as_the_hub_would(tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("datasets", reason="the extra hub isn't installed")
    saved(tmp_path, "train.jsonl", LINES)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "_REF", hub.re.compile("hub:(?P<name>.*)(?P<config>)(?P<split>)"))
    _, good, wrong = taken(Path(f"hub:{tmp_path}"))
    assert ([one.row.answer for one in good], wrong) == ([row["output"] for row in ROWS], [])
    assert [one.line for one in good] == [1, 2, 3, 4, 5]


def test_files_of_two_shapes_are_checked_together(tmp_path: Path, capsys: Any) -> None:
    saved(tmp_path, "a.jsonl", LINES)
    saved(tmp_path, "b.jsonl", json.dumps(chat(("user", "question 1"), ("assistant", "answer 1"))))
    assert run(["data", "check", str(tmp_path), "--json"]) == 0
    found_ = json.loads(capsys.readouterr().out)
    assert [one["shape"] for one in found_["files"]] == ["alpaca", "messages"]
    assert (found_["rows"], found_["usable"], found_["warnings"]) == (6, 6, {"duplicate": 1})
    assert found_["faults"][0]["message"].endswith("a.jsonl")
    assert faults(tmp_path / "a.jsonl") == []
