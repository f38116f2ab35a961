"""CSV and TSV: fields by their header, faults at their true lines, whatever stands in quotes."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from honed.data.mapping import ColumnMap
from honed.data.sources import packed
from honed.data.sources.read import reading
from honed.data.sources.row import Meter, Row
from honed.records import Preference, Rating
from tests.data.files import faults, saved, taken


def read(path: Path, limit: int = 2**26) -> list[Row]:
    with reading(str(path), path.name, Meter(), limit) as (_, blocks):
        return [row for block in blocks for row in block.rows(path.name)]


def test_a_table_is_told_by_its_name_or_by_its_header(tmp_path: Path) -> None:
    for name, text, said in (
        ("a.csv", "x,y\n1,2\n", "CSV"),
        ("a.tsv", "x\ty\n1\t2\n", "TSV"),
        ("a.csv", "x;y\n1;2\n", "CSV"),
        ("any", "Question,Answer,n\nq,a,1\n", "CSV"),
        ("any", "prompt\tresponse\nq\ta\n", "TSV"),
        ("any.txt", "prompt|response\nq|a\n", "CSV"),
    ):
        survey, _, _ = taken(saved(tmp_path, name, text))
        assert str(survey.container) == said
    survey, good, _ = taken(saved(tmp_path, "b.csv.gz", gzip.compress(b"prompt,response\nq,a\n")))
    assert (str(survey.container), len(good)) == ("CSV, gzip", 1)


texts = st.text(st.sampled_from('ab",;\n\r é\t{['), max_size=6)
tables = st.lists(st.tuples(texts, texts), min_size=1, max_size=5)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables, st.sampled_from(",\t;"), st.sampled_from([1, 5, 2**20]), st.sampled_from(["\n", "\r\n"]))
def test_fields_come_back_as_they_were_written(
    tmp_path: Path, rows: list[tuple[str, str]], mark: str, chunk: int, ending: str
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=mark, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerows([("prompt", "response"), *rows])
    path = saved(tmp_path, "rows.tsv" if mark == "\t" else "rows.csv", out.getvalue())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "_CHUNK", chunk)
        found = read(path)
    assert [(row.value["prompt"], row.value["response"]) for row in found if row.value] == rows
    lines = out.getvalue().split("\n")
    for row in found:
        assert row.written().split("\n")[0] == lines[row.line - 1]


def test_the_line_of_a_fault_is_right_behind_quoted_line_ends(tmp_path: Path) -> None:
    text = 'prompt,response,note\n"a\nb\nc","one\ntwo",x\n"d\ne","   ",y\nf,,z\n'
    assert faults(saved(tmp_path, "rows.csv", text)) == [
        (7, "response", "empty answer"),
        (8, "response", "empty answer"),
    ]


@pytest.mark.parametrize(
    ("rows", "expected", "good"),
    [
        ("q,a\nq,a,more\nq\nq,b\n", [(3, "row", "changing columns"), (4, "row", "changing columns")], 2),
        ('q,a\n"q,a\nq,b\nq,c\n', [(3, "row", "open quote")], 3),
        ('5" disk,a\nq,b\n', [], 2),
        ('q,"say ""hi"""\n', [], 1),
        ("q,a\n\n\nq,\x00\n", [(5, "response", "NUL bytes")], 1),
        (b"q,a\nq,\xe9\n", [(3, "column 3", "not UTF-8")], 1),
    ],
)
def test_each_fault_of_a_table_is_named_and_reading_goes_on(
    rows: str | bytes, expected: list[Any], good: int, tmp_path: Path
) -> None:
    data = rows.encode() if isinstance(rows, str) else rows
    path = saved(tmp_path, "rows.csv", b"prompt,response\n" + data)
    assert (faults(path), len(taken(path)[1])) == (expected, good)


def test_a_name_that_stands_twice_in_the_header_is_a_fault(tmp_path: Path) -> None:
    path = saved(tmp_path, "rows.csv", "prompt,response,prompt\nq,a,b\n")
    assert faults(path) == [(1, "header", "duplicate key")]


def test_a_quote_that_stays_open_costs_bounded_memory_and_one_row(tmp_path: Path) -> None:
    path = saved(tmp_path, "rows.csv", 'prompt,response\nq,a\n"q,a\n' + "q,b\n" * 5000)
    found = read(path, limit=2000)
    assert [(row.line, row.faults[0].kind) for row in found if row.faults] == [(3, "open quote")]
    assert sum(row.value is not None for row in found) == 5001


def test_a_table_with_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    assert faults(saved(tmp_path, "rows.csv", "prompt,response\n")) == [(1, "file", "no rows")]


def test_true_and_false_are_labels_in_a_table(tmp_path: Path) -> None:
    survey, good, _ = taken(saved(tmp_path, "rows.csv", "prompt,completion,label\nq,a,True\nq,b,false\n"))
    assert survey.manner.shape == "kto"
    assert [one.records[0].good for one in good] == [True, False]  # type: ignore[union-attr]


Q, A, B = ({"role": role, "content": text} for role, text in (("user", "q"), ("assistant", "a"), ("assistant", "b")))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"messages": [Q, A], "id": "1"}, [["q", "a"]]),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, [["q", "a"]]),
        ({"prompt": [Q], "completion": [A]}, [["q", "a"]]),
        ({"prompt": "q", "chosen": [Q, A], "rejected": [Q, B]}, [["q", "a"], ["q", "b"]]),
        ({"messages": [Q, A], "label": "true"}, [["q", "a"]]),
    ],
)
def test_lists_of_turns_in_a_table_are_read_from_their_json(
    row: dict[str, Any], said: list[list[str]], tmp_path: Path
) -> None:
    plain = {name: value if isinstance(value, str) else json.dumps(value) for name, value in row.items()}
    out = io.StringIO()
    csv.writer(out).writerows([plain.keys(), plain.values()])
    _, (good,), wrong = taken(saved(tmp_path, "rows.csv", out.getvalue()))
    (record,) = good.records
    if isinstance(record, Preference):
        found = [record.row(record.chosen), record.row(record.rejected)]
    else:
        found = [record.row()] if isinstance(record, Rating) else [record]
    assert [[turn.content for turn in one.messages] for one in found] == said
    assert wrong == []


def test_other_json_in_a_table_stays_a_text(tmp_path: Path) -> None:
    for asked, answer in (('[{"a": 1}]', "a"), ("[1, 2]", "[]"), ("[[]", json.dumps([Q, A])), ("q", json.dumps([A]))):
        out = io.StringIO()
        csv.writer(out).writerows([("prompt", "response"), (asked, answer)])
        (good,) = taken(saved(tmp_path, "rows.csv", out.getvalue()))[1]
        assert [turn.content for turn in good.row.messages] == [asked, answer]


def test_a_fault_within_json_in_a_table_is_named_by_line_and_turn(tmp_path: Path) -> None:
    out = io.StringIO()
    rows = [("a\nb", json.dumps([Q, A])), ("c\nd", json.dumps([Q, {**A, "content": ""}])), ("e", json.dumps([Q, A]))]
    csv.writer(out, lineterminator="\n").writerows([("note", "messages"), *rows])
    assert faults(saved(tmp_path, "rows.csv", out.getvalue())) == [(5, "messages[1].content", "empty answer")]


def test_turns_under_messages_may_be_json_in_other_files_too(tmp_path: Path) -> None:
    lines = [json.dumps({"messages": json.dumps(one)}) for one in ([Q, A], [Q, {**A, "content": ""}])]
    path = saved(tmp_path, "rows.jsonl", "\n".join(lines))
    (good,) = taken(path)[1]
    assert good.row.answer == "a"
    assert faults(path) == [(2, "messages[1].content", "empty answer")]
    (good,) = taken(
        saved(
            tmp_path,
            "mapped.csv",
            "said\n" + '"[{""role"": ""user"", ""content"": ""q""}, {""role"": ""assistant"", ""content"": ""a""}]"\n',
        ),
        columns=ColumnMap({"messages": "said"}),
    )[1]
    assert good.row.answer == "a"
