"""What a file is, told by its content and never by its name alone."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from honed.cli.main import run
from honed.data.mapping import ColumnMap
from honed.data.sources import packed
from honed.data.sources.container import Told
from honed.errors import DataError
from tests.data.files import alpaca, faults, saved, taken

ROWS = [alpaca(number) for number in range(5)]
LINES = "\n".join(map(json.dumps, ROWS))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps(ROWS), "JSON array"),
        (json.dumps(ROWS, indent=2), "JSON array"),
        ("\n\n  " + json.dumps(ROWS), "JSON array"),
        (LINES, "JSON lines"),
        (LINES + "\n\n", "JSON lines"),
        (LINES.replace("\n", "\r\n"), "JSON lines"),
        (json.dumps({"data": ROWS}), "JSON object with the rows under 'data'"),
        (
            json.dumps({"about": {"by": "us"}, "rows": ROWS, "more": 3}, indent=1),
            "JSON object with the rows under 'rows'",
        ),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "BOM"])
def test_every_container_is_told_by_its_content(
    text: str, said: str, packed: bool, mark: bytes, tmp_path: Path
) -> None:
    data = mark + text.encode()
    path = saved(tmp_path, "rows.data", gzip.compress(data, mtime=0) if packed else data)
    intake, rows, wrong = taken(path)
    assert (str(intake.container), wrong) == (said + (", gzip" if packed else ""), [])
    assert [row.row.answer for row in rows] == [row["output"] for row in ROWS]


def test_one_object_is_one_row_on_one_line_or_on_many(tmp_path: Path) -> None:
    for indent in (None, 2):
        intake, rows, wrong = taken(saved(tmp_path, "row.json", json.dumps(ROWS[0], indent=indent)))
        assert (intake.counts.rows, len(rows), wrong) == (1, 1, [])


def test_a_chat_row_alone_is_a_row_and_not_a_wrapper_of_rows(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]
    for indent in (None, 2):
        assert len(taken(saved(tmp_path, "row.json", json.dumps({"messages": turns}, indent=indent)))[1]) == 1


def test_json_lines_are_told_although_the_first_is_broken(tmp_path: Path) -> None:
    path = saved(tmp_path, "rows.json", '{"instruction": "a",\n' + LINES)
    assert str(taken(path)[0].container) == "JSON lines"
    assert faults(path) == [(1, "column 21", "not JSON")]


LONG = [{"role": "user", "content": "x" * 70_000}, {"role": "assistant", "content": "a"}]
WORSE = [*LONG[:1], {"role": "assistant", "content": "b"}]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.data"])
@pytest.mark.parametrize(
    "row",
    [
        {"chosen": LONG, "rejected": WORSE},
        {"tools": [{"name": "look", "description": "d" * 70_000}], "messages": LONG},
        {"tools": [{"name": "look"}], "messages": LONG},
        {"history": [["q", "a" * 70_000]], "instruction": "q", "output": "a"},
    ],
)
def test_lists_in_the_first_row_do_not_make_json_lines_an_object(
    name: str, row: dict[str, Any], tmp_path: Path
) -> None:
    for many in (1, 3):
        survey, rows, wrong = taken(saved(tmp_path, name, "\n".join([json.dumps(row)] * many)))
        assert (str(survey.container), len(rows), wrong) == ("JSON lines", many, [])


def test_what_a_file_is_may_be_said(tmp_path: Path, capsys: Any) -> None:
    semicolon = "prompt;response\nq, or p;a, b, c\n"
    lines = saved(
        tmp_path, "a.json", '{"turns": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}'
    )
    table = saved(tmp_path, "b.txt", "prompt,x;response,y\nq;a\n")
    odd = saved(tmp_path, "c.csv", "[prompt]~response\nq~a\n")
    pretty = saved(tmp_path, "d.jsonl", json.dumps({"rows": ROWS}, indent=1))
    for path, said, more in (
        (lines, "JSON lines", {"told": Told("jsonl"), "columns": ColumnMap({"messages": "turns"})}),
        (saved(tmp_path, "e.csv", semicolon), "CSV", {"told": Told(delimiter=";")}),
        (
            table,
            "CSV",
            {"told": Told("csv", ";"), "columns": ColumnMap({"prompt": "prompt,x", "response": "response,y"})},
        ),
        (odd, "CSV", {"told": Told("csv", "~"), "columns": ColumnMap({"prompt": "[prompt]"})}),
        (saved(tmp_path, "f", "prompt\tresponse\nq\ta\n"), "TSV", {"told": Told("tsv")}),
        (pretty, "JSON object with the rows under 'rows'", {"told": Told("json")}),
    ):
        survey, rows, wrong = taken(path, **more)
        assert (str(survey.container), bool(rows), wrong) == (said, True, [])
    assert run(["data", "check", str(tmp_path / "e.csv"), "--container", "csv", "--delimiter", ";"]) == 0
    capsys.readouterr()
    assert run(["data", "check", str(tmp_path / "e.csv"), "--container", "json", "--delimiter", ";"]) == 1
    assert "only a CSV file has a delimiter" in capsys.readouterr().err


def test_parquet_rows_are_read_with_nulls_as_fields_that_are_not_there(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "u", "tool_calls": None}, {"role": "assistant", "content": "a"}]
    table = pa.Table.from_pylist([{"messages": turns, "source": "x"}, {"messages": turns[:1], "source": None}])
    pq.write_table(table, tmp_path / "rows.bin")
    intake, rows, wrong = taken(tmp_path / "rows.bin")
    assert str(intake.container) == "Parquet"
    assert [(row.line, dict(row.row.tags)) for row in rows] == [(1, {"source": "x"})]
    assert [(fault.line, fault.kind) for fault in wrong] == [(2, "roles out of order")]


def test_a_parquet_file_cut_short_is_one_fault(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    path = saved(tmp_path, "cut.parquet", (tmp_path / "rows.parquet").read_bytes()[:-40])
    assert [kind for _, _, kind in faults(path)] == ["damaged Parquet"]


def test_a_parquet_text_that_is_not_utf8_is_named_by_its_row(tmp_path: Path) -> None:
    texts = pa.array([b"a", b"\xff", b"c"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"prompt": texts, "response": ["x", "y", "z"]}), tmp_path / "rows.parquet")
    assert faults(tmp_path / "rows.parquet") == [(2, "row", "not UTF-8")]


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (b"", "empty file", "empty"),
        (b" \n \n", "empty file", "empty"),
        (b"\xef\xbb\xbf", "empty file", "empty"),
        (gzip.compress(b"", mtime=0), "empty file", "empty"),
        (b"[]", "no rows", "no rows"),
        (b"name,age\nann,3\n", "not data", "begins with"),
        (b"PK\x03\x04abc", "not data", "zip"),
        ("[]".encode("utf-16"), "no rows", "no rows"),
        (gzip.compress(b"PAR1abc", mtime=0), "not data", "Parquet file packed"),
    ],
)
def test_a_file_without_rows_is_one_fault(content: bytes, kind: str, said: str, tmp_path: Path) -> None:
    intake, rows, (fault,) = taken(saved(tmp_path, "file", content))
    assert (intake.counts.rows, rows, fault.line, fault.kind) == (0, [], 1, kind)
    assert said in fault.message
    assert fault.hint


def test_a_gzip_file_cut_short_gives_its_sound_rows_and_the_line_it_ends_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json.dumps(alpaca(number)) for number in range(3000)]
    whole = gzip.compress("\n".join(lines).encode())
    for text, chunk in (("\n".join(lines), 2**20), (f"[{', '.join(lines)}]".replace("}, {", "},\n{"), 1000)):
        monkeypatch.setattr(packed, "_CHUNK", chunk)
        whole = gzip.compress(text.encode())
        _, rows, (fault,) = taken(saved(tmp_path, "rows.gz", whole[: len(whole) // 2]))
        assert 1000 < len(rows) < 2000
        assert (fault.line, fault.kind) == (len(rows) + 1, "truncated gzip")


def test_a_damaged_gzip_file_is_named(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(LINES.encode() * 50))
    packed[40] ^= 0xFF
    assert {"damaged gzip"} <= {kind for _, _, kind in faults(saved(tmp_path, "rows.gz", bytes(packed)))}


def test_a_missing_file_and_a_folder_are_errors_of_two_lines(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none.json", "no such file"), (tmp_path, "a folder")):
        with pytest.raises(DataError, match=said) as caught:
            taken(path)
        assert caught.value.hint
