"""JSON as models write it is read; what is cut is never made up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honed.data.synthesize.repair import parsed


@pytest.mark.parametrize(
    ("text", "value", "mended"),
    [
        ('{"a": [1, 2,],}', {"a": [1, 2]}, ("commas",)),
        ('{"a": 1 "b": 2}', {"a": 1, "b": 2}, ("commas",)),
        ('Sure!\n```json\n{"a": "b"}\n```\nBye', {"a": "b"}, ("code fence",)),
        ('Here it is: {"a": "b"} I hope it helps.', {"a": "b"}, ("words around it",)),
        ("{'a': 'b', c: True, 'd': None}", {"a": "b", "c": True, "d": None}, ("quotes",)),
        ("{“a”: “b”}", {"a": "b"}, ("quotes",)),
        ('{"a": "one\ntwo"}', {"a": "one\ntwo"}, ("line ends in texts",)),
        (r'{"a": "it\'s"}', {"a": "it's"}, ("quotes", "escapes")),
        ('{"a": 1, // a note\n"b": 2}', {"a": 1, "b": 2}, ()),
        ('{"tasks": [{"q": "x"}, {"q": "y cut', {"tasks": [{"q": "x"}]}, ("cut",)),
        ('{"q": "x", "a": "y"', {"q": "x", "a": "y"}, ("cut",)),
        ("[1, 23", [1], ("cut",)),
        ('{"code": "```py\\nx\\n```",}', {"code": "```py\nx\n```"}, ("commas",)),
    ],
)
def test_what_models_get_wrong_is_mended_and_said(text: str, value: Any, mended: tuple[str, ...]) -> None:
    found = parsed(text)
    assert found.value == value
    assert set(found.mended) <= {*mended, "escapes"}
    assert mended == () or set(mended) & set(found.mended)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I can't do that.", "no JSON"),
        ("", "no JSON"),
        ('{"q": "half a sen', "cut before the first whole item"),
        ('{"a": {"b":', "cut before the first whole item"),
        ("[" * 100, "nested deeper"),
    ],
)
def test_what_cannot_be_read_says_why(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parsed(text)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('ab" \\{[:,é', max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.text("ab", max_size=2), _VALUES, max_size=3), st.data())
def test_json_is_read_as_it_is_and_no_cut_of_it_makes_up_a_text(value: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert parsed(text) == (value, ())
    assert parsed(f"Well: {text} .").value == value
    part = text[: data.draw(st.integers(0, len(text)))]
    try:
        found = parsed(part).value
    except ValueError:
        return
    assert _texts(found) <= _texts(value)


def _texts(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {*value, *(text for one in value.values() for text in _texts(one))}
    if isinstance(value, list):
        return {text for one in value for text in _texts(one)}
    return {value} if isinstance(value, str) else set()
