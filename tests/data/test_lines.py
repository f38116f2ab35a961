"""The line of every fault is the line it stands in, whatever the container; nothing but a named fault comes out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from honed.data.sources import lines, packed
from honed.data.sources.read import reading
from honed.data.sources.row import Meter, Row
from honed.errors import HonedError
from tests.data.files import alpaca, faults, saved, taken

SHARED = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])

texts = st.text(st.sampled_from('aé😀"\\\n{}[],: \u2028\x01'), max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
rows_ = st.lists(
    st.dictionaries(st.sampled_from(["output", "x", "tags"]) | texts, values, max_size=3), min_size=2, max_size=5
)


def read(path: Path, limit: int = 2**26) -> list[Row]:
    with reading(str(path), path.name, Meter(), limit) as (_, blocks):
        return [row for block in blocks for row in block.rows(path.name)]


@SHARED
@given(
    rows_, st.sampled_from(["compact", "pretty", "lines", "wrapped"]), st.booleans(), st.sampled_from([1, 3, 64, 2**20])
)
def test_rows_come_back_as_they_were_written(
    tmp_path: Path, rows: list[dict[str, Any]], style: str, zipped: bool, chunk: int
) -> None:
    text = {
        "compact": lambda: json.dumps(rows),
        "pretty": lambda: json.dumps(rows, indent=1, ensure_ascii=False),
        "lines": lambda: "\n".join(json.dumps(row, ensure_ascii=False) for row in rows),
        "wrapped": lambda: json.dumps({"n": [1], "data": [{}, *rows]}),
    }[style]()
    path = saved(tmp_path, "rows", gzip.compress(text.encode()) if zipped else text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "_CHUNK", chunk)
        found = read(path)
    assert [row.value for row in found] == ([{}, *rows] if style == "wrapped" else rows)
    for row in found:
        assert row.text
        assert row.text.split("\n")[0] in text.split("\n")[row.line - 1]


@SHARED
@given(
    st.binary(max_size=200) | st.text(st.sampled_from('{}[]",:\\ \n0eN-ax'), max_size=60).map(str.encode),
    st.integers(1, 60),
)
@example(b"[" * 5000, 10)
@example(b'[{"a":' * 5000, 2**20)
@example(b"[" + b"1" * 5000 + b"]", 2**20)
@example(b'{"instruction": "\\ud800", "output": "b"}', 99)
@example(gzip.compress(b"[{}")[:-3], 9)
@example(b"PAR1" + b"\0" * 40 + b"PAR1", 9)
def test_arbitrary_bytes_raise_nothing_but_an_error_for_the_user(tmp_path: Path, data: bytes, limit: int) -> None:
    path = saved(tmp_path, "bytes", data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "_CHUNK", 7)
        try:
            found = read(path, limit)
            intake, good, wrong = taken(path)
        except HonedError:
            return
    assert all(row.value is not None or row.faults for row in found)
    assert good or wrong, "not one row, and no fault that says why"
    assert intake.counts.usable == len(good)


@SHARED
@given(st.integers(0, 29), st.sampled_from([None, 0, 2]), st.booleans())
def test_a_planted_fault_is_named_by_the_line_of_its_field(
    tmp_path: Path, at: int, indent: int | None, packed: bool
) -> None:
    rows = [alpaca(number) for number in range(30)]
    rows[at]["output"] = " PLANTED"[:1]
    text = json.dumps(rows, indent=indent)
    line = next(number for number, line in enumerate(text.split("\n"), 1) if '"output": " "' in line)
    path = saved(tmp_path, "rows", gzip.compress(text.encode()) if packed else text)
    assert faults(path) == [(line, "output", "empty answer")]


def test_a_fault_deep_in_a_pretty_row_is_named_by_its_own_line(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "u"}, {"role": "robot", "content": "a"}]
    good = [turns[0], {"role": "assistant", "content": "a"}]
    text = json.dumps([{"messages": good}, {"messages": turns}], indent=2)
    line = next(number for number, line in enumerate(text.split("\n"), 1) if "robot" in line)
    assert faults(saved(tmp_path, "rows.json", text)) == [(line, "messages[1].role", "unknown role")]


def test_a_line_that_is_not_json_is_one_fault_and_reading_goes_on(tmp_path: Path) -> None:
    rows = [json.dumps(alpaca(number)) for number in range(7500)]
    rows[7000] = rows[7000][:-5]
    intake, good, (fault,) = taken(saved(tmp_path, "rows.jsonl", "\n".join(rows)))
    assert (intake.counts.rows, len(good)) == (7500, 7499)
    assert str(fault).startswith("rows.jsonl:7001: column ")
    assert "not JSON" in fault.message


@pytest.mark.parametrize(
    ("text", "expected", "usable"),
    [
        ('[{A},\n{"instruction" "x"},\n{B}]', [(2, "column 16", "not JSON")], 2),
        ("[{A}\n{B}]", [(2, "column 1", "not JSON")], 2),
        ("[{A},\n{B},\n]", [(3, "column 1", "not JSON")], 2),
        ("[{A},\n{B}\n", [(3, "column 1", "not JSON")], 2),
        ("[{A},\n{B}]\n{A}", [(3, "column 1", "not JSON")], 2),
        ("[{A},\n nonsense, {B}]", [(2, "column 2", "not JSON")], 2),
        ('[{A},\n{"instruction": "x\n", "output": "y"},{B}]', [(2, "column 19", "not JSON")], 2),
        ('[{A},\n{"instruction": "x, "output": "y"},\n{B}]', [(2, "column 22", "not JSON")], 1),
        ('{"data": [{A}, {B}]\n, "more": [{}]}', [(2, "column 11", "two lists")], 2),
        ('{"data": [{A}, {B}]\n, "more": [1 2]}', [(2, "column 11", "not JSON")], 2),
        ('{"data": [{A}, {B}],\n, 4}', [(2, "column 1", "not JSON")], 2),
    ],
)
def test_a_broken_document_is_named_where_it_breaks(
    text: str, expected: list[tuple[int, str, str]], usable: int, tmp_path: Path
) -> None:
    text = text.replace("{A}", json.dumps(alpaca(1))).replace("{B}", json.dumps(alpaca(2)))
    path = saved(tmp_path, "rows.json", text)
    assert (faults(path), len(taken(path)[1])) == (expected, usable)


def test_where_reading_can_not_go_on_the_fault_says_so(tmp_path: Path) -> None:
    text = json.dumps([alpaca(number) for number in range(9)], indent=2).replace('"answer 4"', '"answer 4')
    (fault,) = taken(saved(tmp_path, "rows.json", text))[2]
    assert "reading can't go on past it" in fault.message


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ('{"instruction": "a",\n"output": "b", "output": "c"}', (2, "output", "duplicate key")),
        ('{"instruction": "a",\n"output": NaN}', (2, "output", "not a number")),
        ('{"instruction": "NaN",\n"output": "x", "n": [1, -Infinity]}', (2, "n[1]", "not a number")),
        ('{"instruction": "a", "output": "b",\n"n": 1e999}', (2, "n", "not a number")),
        ('{"instruction": "a\\ud800", "output": "b"}', (1, "row", "not UTF-8")),
        ('{"instruction": "a\0", "output": "b"}', (1, "column 19", "NUL bytes")),
        ('{"instruction": "a\\u0000", "output": "b"}', (1, "instruction", "NUL bytes")),
        ('{"n": ' + "[" * 2000 + "]" * 2000 + "}", (1, "row", "nested too deeply")),
        ('{"n": ' + "[" * 70 + "]" * 70 + "}", (1, "row", "nested too deeply")),
        ('{"n": ' + "1" * 5000 + "}", (1, "column 1", "not JSON")),
        ("[1]", (1, "row", "not an object")),
        ("3", (1, "row", "not an object")),
    ],
)
def test_oddities_that_json_readers_let_pass_are_faults(
    row: str, expected: tuple[int, str, str], tmp_path: Path
) -> None:
    good = json.dumps(alpaca(1))
    line, field, kind = expected
    assert faults(saved(tmp_path, "rows.json", f"[{good},\n{row},\n{good}]")) == [(line + 1, field, kind)]
    if "\n" not in row:
        assert faults(saved(tmp_path, "rows.jsonl", f"{good}\n{row}\n{good}")) == [(2, field, kind)]


def test_bytes_that_are_not_utf8_are_named_and_reading_goes_on(tmp_path: Path) -> None:
    good = json.dumps(alpaca(1)).encode()
    bad = '{"instruction": "é", "output": "b"}'.encode("latin-1")
    assert faults(saved(tmp_path, "a.jsonl", good + b"\n" + bad + b"\n" + good)) == [(2, "column 18", "not UTF-8")]
    assert faults(saved(tmp_path, "a.json", b"[" + good + b",\n" + bad + b",\n" + good + b"]")) == [
        (2, "column 18", "not UTF-8")
    ]


@pytest.mark.parametrize("shape", ["[{}]", "{}"])
def test_a_row_that_is_too_long_is_skipped_in_bounded_memory(
    shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "_CHUNK", 512)
    long = json.dumps(alpaca(2, output="x" * 200_000))
    between = ",\n" if shape == "[{}]" else "\n"
    rows = between.join([json.dumps(alpaca(1)), long, json.dumps(alpaca(3))])
    found = read(saved(tmp_path, "rows", shape.replace("{}", rows)), limit=2_000)
    assert [row.line for row in found] == [1, 2, 3]
    assert [fault.kind for row in found for fault in row.faults] == ["too long"]
    assert len(found[1].written()) <= 1000
    assert found[2].value == alpaca(3)


def test_a_json_line_is_not_split_at_other_line_separators() -> None:
    data = json.dumps({"a": "x\u2028y\x85z"}, ensure_ascii=False).encode() + b"\r\n"
    ((row,),) = [list(block.rows("f")) for block in lines.blocks(iter([data]), "f", 100)]
    assert row.value == {"a": "x\u2028y\x85z"}
