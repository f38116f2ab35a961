"""Segments are rules over what rows declare; their version is what they say, and nothing else."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honed import segments
from honed.config import build
from honed.errors import ConfigError
from honed.records import ATTRIBUTES
from honed.segments import Segments
from tests.house.tree import name_of, parsed, python_files


def rules(*where: dict[str, Any]) -> tuple[segments.Rule, ...]:
    listed = [{"name": f"s{at}", "where": one} for at, one in enumerate(where)]
    return build(Segments, {"segments": listed}, "test").segments


def test_a_row_is_of_the_first_segment_that_it_matches() -> None:
    made = rules({"audience": "child", "locale": ["de", "at"]}, {"audience": ["child", "teen"]})
    assert segments.segment(made, {"audience": "child", "locale": "at", "task": "qa"}) == "s0"
    assert segments.segment(made, {"audience": "child", "locale": "fr"}) == "s1"
    assert segments.segment(made, {"locale": "de"}) is None
    assert segments.shown(made, {"audience": "teen"}) == {"audience": "teen", "segment": "s1"}
    assert segments.shown(made, {"task": "qa"}) == {"task": "qa"}


def test_a_file_is_read_and_its_version_is_what_the_rules_say(tmp_path: Path) -> None:
    file = tmp_path / "segments.yaml"
    file.write_text("segments:\n- name: s0\n  where: {locale: [at, de], audience: child}\n")
    assert segments.version(segments.read(str(file))) == segments.version(
        rules({"audience": ["child"], "locale": ["de", "at"]})
    )
    assert segments.version(rules({"audience": "child"})) != segments.version(rules({"audience": "teen"}))
    assert segments.version(()) == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("segments: [{name: n, where: {locale: no}}]", "locale needs a text or a list of texts"),  # Norway
        ("segments: [{name: n, where: {age_band: [12]}}]", "quote"),
        ("segments: [{name: n, where: {locale: []}}]", "locale needs a text"),
        ("segments: [{name: n, where: {}}]", "at least 1 item"),
        ("segments: [{name: n, where: de}]", "valid dictionary"),
        ("segments: [{where: {locale: de}}]", "segments.0.name: this setting is required"),
        ("segments: [{name: n, where: {a: b}, were: {locale: de}}]", "unknown key 'segments.0.were'"),
        ("segments: [{name: n, where: {a: b}}, {name: n, where: {a: c}}]", "two segments are called 'n'"),
        ("- name: n", "not 'key: value' lines"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "segments.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        segments.read(str(file))
    assert message in raised.value.message


names = st.sampled_from(["audience", "locale", "task"])
values = st.sampled_from(["a", "b", "c"])


@settings(deadline=None)
@given(
    st.dictionaries(names, values),
    st.lists(st.dictionaries(names, st.lists(values, min_size=1), min_size=1), min_size=1),
)
def test_a_rule_never_matches_a_tag_that_a_row_lacks(tags: dict[str, str], where: list[dict[str, Any]]) -> None:
    found = segments.segment(rules(*where), tags)
    for at, one in enumerate(where):
        fits = all(tag in tags and tags[tag] in wanted for tag, wanted in one.items())
        if found == f"s{at}":
            assert fits
            return
        assert not fits
    assert found is None


def test_no_code_writes_an_attribute_of_people() -> None:
    """Their names stand as a key, or as what is assigned to, nowhere but in rows of our own making."""
    found = []
    for path in python_files("honed"):
        if {"builtin", "written"} & set(path.parts):
            continue
        for node in ast.walk(parsed(path)):
            keys: list[ast.expr | None] = node.keys if isinstance(node, ast.Dict) else []
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                keys = [node.slice]
            named = [key.value for key in keys if isinstance(key, ast.Constant) and key.value in ATTRIBUTES]
            found += [f"{name_of(path)}:{node.lineno} {name}" for name in named if isinstance(node, ast.expr)]
    assert found == []
