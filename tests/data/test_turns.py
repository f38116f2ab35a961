"""What turns of a list bring along besides their texts."""

from __future__ import annotations

from typing import Any

import pytest

from honed.data.shapes import table
from honed.data.shapes.drawn import Drawn

LOOK, SEND = {"name": "look", "description": "d"}, {"name": "send"}
Q, A = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
SYSTEM = {"role": "system", "content": "s"}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"name": "look", "arguments": {}}], "tools": [LOOK]}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [SYSTEM, {**Q, "tools": [LOOK]}, A]},
        {"messages": [{**Q, "tools": [LOOK]}, A], "system": "s"},
        {"messages": [{**Q, "tools": [{"function": LOOK}]}, A, {**Q, "tools": [LOOK]}, A], "tools": [LOOK]},
        {"messages": [Q, CALL, {"role": "tool", "content": "3", "tools": None}, A]},
        {"messages": [Q, {**A, "content": "look"}, {**CALL, "content": ""}, {"role": "tool", "content": "3"}, A]},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a", "tools": [LOOK]}]},
        {"prompt": [Q, A, {**Q, "tools": [LOOK]}], "completion": "a"},
        {"prompt": [Q, A, {**Q, "tools": [LOOK]}], "completion": "a", "label": True},
        {"prompt": [Q, A, {**Q, "tools": [LOOK]}], "chosen": "a", "rejected": "b"},
        {"input": {"messages": [Q, A, {**Q, "tools": [LOOK]}]}, "chosen": "a", "rejected": "b"},
    ],
)
def test_tools_of_any_turn_are_those_of_the_first(row: dict[str, Any]) -> None:
    shape = table.shape_of(row)
    assert shape
    found = table.read(row, shape)
    assert found.problems == []
    (record,) = found.records
    turns = record.messages if isinstance(record, Drawn) else record.prompt
    assert [turn.tools for turn in turns] == [(LOOK,), *[()] * (len(turns) - 1)]


@pytest.mark.parametrize(
    ("row", "path"),
    [
        ({"messages": [{**Q, "tools": [LOOK]}, {**A, "tools": [SEND]}]}, ("messages", 1, "tools")),
        ({"messages": [{**Q, "tools": [LOOK]}, A], "tools": [SEND]}, ("messages", 0, "tools")),
        ({"messages": [Q, CALL, {"role": "tool", "content": "3"}, A], "tools": [SEND]}, ("messages", 1, "tools")),
        ({"prompt": [{**Q, "tools": [LOOK]}], "answer": "a", "label": True, "tools": [SEND]}, ("prompt", 0, "tools")),
        ({"prompt": [{**Q, "tools": [LOOK]}], "chosen": "a", "rejected": "b", "tools": [SEND]}, ("prompt", 0, "tools")),
        (
            {"input": {"messages": [{**Q, "tools": [LOOK]}]}, "chosen": "a", "rejected": "b", "tools": [SEND]},
            ("input", "messages", 0, "tools"),
        ),
    ],
)
def test_two_different_lists_of_tools_in_one_row_are_a_fault(row: dict[str, Any], path: tuple[str | int, ...]) -> None:
    shape = table.shape_of(row)
    assert shape
    found = table.read(row, shape)
    assert [(one.path, one.kind) for one in found.problems] == [(path, "two lists of tools")]
    assert found.records == []
