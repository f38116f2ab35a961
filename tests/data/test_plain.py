"""Ordinary rows are read at once, to the same result as with care."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honed.data.shapes import plain, table
from tests.data.files import alpaca, chat

SHAPES: list[table.Shape] = ["alpaca", "dolly", "prompt-response", "messages", "sharegpt"]
texts = st.sampled_from(["a", " b ", "", " ", "\0", "long\ntext"])
loose = texts | st.none() | st.integers(0, 2) | st.just([]) | st.just({})
NAMES = "instruction input context output response prompt question completion system history tools category task source"
names = st.sampled_from([*NAMES.split(), "rank", "tags"])
entries = st.dictionaries(
    st.sampled_from(["role", "content", "from", "value", "weight"]), texts, max_size=3
) | st.builds(
    lambda role, text: {"role": role, "content": text}, st.sampled_from(["user", "assistant", "system", "tool"]), texts
)
lists = st.lists(entries, max_size=4)
rows = st.dictionaries(names, texts | loose, max_size=6) | st.builds(
    lambda row, turns, key: {**row, key: turns},
    st.dictionaries(names, loose, max_size=2),
    lists,
    st.sampled_from(["messages", "conversations"]),
)


@settings(deadline=None, max_examples=1000)
@given(rows, st.sampled_from(SHAPES))
def test_what_is_read_at_once_is_what_the_careful_reader_says(row: dict[str, Any], shape: table.Shape) -> None:
    at_once = plain.read(row, shape)
    if at_once is None:
        return
    careful = table.read(row, shape)
    assert careful.problems == []
    assert [at_once.drawn] == careful.records
    assert (at_once.fields, at_once.extra, list(at_once.ignored)) == (careful.fields, careful.extra, careful.ignored)


@pytest.mark.parametrize(
    ("row", "shape"),
    [
        (alpaca(1, input="more", category="x", rank=1), "alpaca"),
        ({"prompt": "q", "response": "a", "system": ""}, "prompt-response"),
        (chat(("system", "s"), ("user", "q"), ("assistant", "a")), "messages"),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, "sharegpt"),
    ],
)
def test_ordinary_rows_are_read_at_once(row: dict[str, Any], shape: table.Shape) -> None:
    assert plain.read(row, shape) is not None
