"""Lists of turns as JSON text: what is one and what stays a text, and what is said of the JSON in it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from honed.data.mapping import ColumnMap
from honed.records import Preference
from tests.data.files import alpaca, faults, saved, taken
from tests.data.test_fix import fixed

Q, A = ({"role": role, "content": text} for role, text in (("user", "q"), ("assistant", "a")))


def table(path: Path, *rows: dict[str, Any]) -> Path:
    """A CSV file of the rows, in which whatever isn't a text is JSON."""
    out = io.StringIO()
    texts = [[one if isinstance(one, str) else json.dumps(one) for one in row.values()] for row in rows]
    csv.writer(out, lineterminator="\n").writerows([rows[0].keys(), *texts])
    return saved(path, "rows.csv", out.getvalue())


@pytest.mark.parametrize(
    "data",
    [
        '[{"from": "Berlin", "to": "Paris"}]',
        '[{"from": "user", "to": "Paris"}]',
        '[{"role": "manager", "name": "Ann"}]',
        '[{"role": "manager", "content": "Ann"}]',
        '[{"role": "user", "content": "q"}, {"a": 1}]',
        '[{"role": "user", "content": "q"}], "completion": []',
        "[" * 10**5,
    ],
)
def test_json_of_no_turns_stays_a_text_in_a_table(data: str, tmp_path: Path) -> None:
    (good,) = taken(table(tmp_path, {"prompt": data, "completion": "a"}))[1]
    assert [turn.content for turn in good.row.messages] == [data, "a"]
    (good,) = taken(table(tmp_path, {"prompt": "q", "chosen": data, "rejected": "b"}))[1]
    (record,) = good.records
    assert isinstance(record, Preference)
    assert record.chosen == data


def test_turns_in_a_table_may_call_tools_or_have_roles_that_can_be_mended(tmp_path: Path) -> None:
    call = {"role": "assistant", "tool_calls": [{"name": "f", "arguments": {}}]}
    result = {"role": "tool", "content": "1"}
    (good,) = taken(table(tmp_path, {"prompt": [Q, call, result], "completion": [A]}))[1]
    assert [turn.role for turn in good.row.messages] == ["user", "assistant", "tool", "assistant"]
    wrong = faults(table(tmp_path, {"prompt": [{"role": "Human", "content": "q"}], "completion": [A]}))
    assert wrong == [(2, "prompt[0].role", "unknown role")]


@pytest.mark.parametrize("name", ["messages", "conversations"])
@pytest.mark.parametrize("inner", [[Q, A], [{"id": "17"}]])
def test_a_text_of_turns_beside_another_shape_is_not_read(name: str, inner: list[Any], tmp_path: Path) -> None:
    row = {**alpaca(1), name: json.dumps(inner)}
    for path in (saved(tmp_path, "rows.jsonl", json.dumps(row)), table(tmp_path, row)):
        survey, good, wrong = taken(path)
        assert (survey.manner.shape, len(good), wrong) == ("alpaca", 1, [])
        assert survey.counts.ignored[name] == 1


def test_a_text_of_turns_is_opened_where_it_is_the_shape_or_belongs_to_it(tmp_path: Path) -> None:
    row = {**alpaca(1), "messages": json.dumps([Q, A])}
    (good,) = taken(table(tmp_path, row), shape="messages")[1]
    assert good.row.answer == "a"
    (good,) = taken(table(tmp_path, {"conversations": [Q], "chosen": "a", "rejected": "b"}))[1]
    assert [turn.content for turn in good.records[0].prompt] == ["q"]  # type: ignore[union-attr]
    (good,) = taken(table(tmp_path, {"q": [Q], "completion": [A]}), columns=ColumnMap({"prompt": "q"}))[1]
    assert [turn.content for turn in good.row.messages] == ["q", "a"]
    (wrong,) = faults(table(tmp_path, {"messages": [{"id": "17"}]}))
    assert wrong == (2, "row", "no known shape")


def test_json_in_a_text_has_the_faults_that_it_has_as_a_row(tmp_path: Path) -> None:
    big = '{"role": "assistant", "tool_calls": [{"name": "f", "arguments": {"id": 123456789012345678901234}}]}'
    for last in (
        big,
        '{"role": "assistant", "content": "a", "role": "user"}',
        '{"role": "assistant", "content": "a", "weight": NaN}',
        r'{"role": "assistant", "content": "\ud800"}',
    ):
        text = f'[{{"role": "user", "content": "q"}}, {last}]'
        (plain,) = taken(saved(tmp_path, "plain.jsonl", f'{{"messages": {text}}}'))[2]
        (said,) = taken(saved(tmp_path, "rows.jsonl", json.dumps({"messages": text})))[2]
        (cell,) = taken(table(tmp_path, {"note": "n\nn", "messages": text}))[2]
        assert (said.kind, said.message, said.hint) == (plain.kind, plain.message, plain.hint)
        assert (cell.line, cell.kind, cell.message) == (3, plain.kind, plain.message)
        assert plain.field in (said.field, "row")
        assert cell.field == said.field


def test_turns_in_a_text_are_mended(tmp_path: Path, capsys: Any) -> None:
    bot = [{"role": "User", "content": "q "}, {"role": "bot", "content": "a"}]
    for name in ("messages", "said"):
        row = {"id": "1", name: json.dumps(bot)}
        more = ("--map", "messages=said") if name == "said" else ()
        for path in (saved(tmp_path, "rows.jsonl", json.dumps(row)), table(tmp_path, row)):
            said, mended = fixed(path, capsys, *more)
            assert mended == [{"id": "1", name: [Q, A]}]
            assert said["mended"] == {"role names": 2, "stray whitespace": 1}
    broken = {"messages": '[{"role": "bot", "role": "bot", "content": "a"}]'}
    path = saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, [{"messages": bot}, broken])))
    assert fixed(path, capsys)[1] == [{"messages": [Q, A]}, broken]
