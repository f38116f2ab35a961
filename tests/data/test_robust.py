"""Whatever a file holds: named faults, bounded memory, and the rows around them read."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from honed.cli.main import run
from honed.data.sources import lines
from honed.data.sources.decode import Decoder, quick
from honed.data.sources.row import KEPT
from tests.data.files import alpaca, faults, saved, taken

MB = 2**20


def test_a_line_of_gigabytes_is_skipped_in_bounded_memory() -> None:
    good = orjson.dumps(alpaca(1)) + b"\n"
    piece = b"x" * MB

    def chunks() -> Iterator[bytes]:
        yield good + b'{"instruction": "'
        for _ in range(2048):  # 2 GB; the same loop takes 10 GB
            yield piece
        yield b'"}\n' + good

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = [row for block in lines.blocks(chunks(), "f", 8 * MB) for row in block.rows("f")]
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 100 * MB
    assert [(row.line, [fault.kind for fault in row.faults]) for row in found] == [(1, []), (2, ["too long"]), (3, [])]
    assert len(found[1].written()) <= KEPT


def test_a_long_line_at_the_end_and_one_within_a_chunk_are_both_named() -> None:
    data = b"{}\n" + b"y" * 50 + b"\n{}\n" + b"z" * 500
    for size in (1, 7, 1000):
        chunks = iter([data[start : start + size] for start in range(0, len(data), size)])
        found = [row for block in lines.blocks(chunks, "f", 20) for row in block.rows("f")]
        assert [(row.line, bool(row.faults)) for row in found] == [(1, False), (2, True), (3, False), (4, True)]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.sampled_from('a"\\\u00e9\U0001f600{['), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from('ab"\\'), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from('ab"\\'), values, max_size=3), st.booleans())
def test_what_is_decoded_quickly_is_what_the_careful_reader_says(value: dict[str, object], ascii_: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_)
    assert json.loads(text) == value
    if (found := quick(text)) is not None:
        assert found == value
        assert repr(found) == repr(value)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(['"x"', '"\\\\"', '"\\""', "1", '["\\\\"]'])), max_size=4)
)
@example([("a", '"\\\\"'), ("a", "1"), ("b", '"\\\\"')])
def test_a_repeated_key_is_never_decoded_quickly(pairs: list[tuple[str, str]]) -> None:
    text = "{" + ",".join(f'"{key}":{value}' for key, value in pairs) + "}"
    repeated = len({key for key, _ in pairs}) < len(pairs)
    assert (quick(text) is None) == repeated
    row = Decoder("f").whole(text, 1)
    assert [fault.kind for fault in row.faults] == (["duplicate key"] if repeated else [])


@pytest.mark.parametrize(
    "text",
    ['{"a": 1e999}', '{"a": NaN}', '{"a": 1180591620717411303424}', '{"a":' + "[" * 70 + "]" * 70 + "}", "[1]", "{"],
)
def test_what_may_have_been_changed_is_never_decoded_quickly(text: str) -> None:
    assert quick(text) is None


HUGE = 2**64
CALL = {"role": "assistant", "content": "", "tool_calls": [{"name": "look", "arguments": {"n": HUGE}}]}
ASKED = {"role": "user", "content": "q"}
SAID = {"role": "assistant", "content": "a"}


@pytest.mark.parametrize(
    ("row", "field", "kind"),
    [
        (
            {"prompt": "q", "response": "a", "tools": [{"name": "look", "parameters": {"most": HUGE}}]},
            "tools[0]",
            "wrong type",
        ),
        ({"messages": [ASKED, CALL]}, "messages[1].tool_calls[0]", "wrong type"),
        ({"messages": [ASKED, {**SAID, "weight": 10**400}]}, "messages[1].weight", "wrong type"),
        ({"messages": [ASKED, {**SAID, "weight": 1e39}]}, "messages[1].weight", "wrong type"),
        (
            {
                "conversations": [
                    {"from": "human", "value": "q"},
                    {"from": "function_call", "value": {"name": "f"}},
                    {"from": "observation", "value": {"n": HUGE}},
                    {"from": "gpt", "value": "a"},
                ]
            },
            "conversations[2].value",
            "wrong type",
        ),
        (
            {
                "input": {"messages": [ASKED], "tools": [{"name": "f", "n": HUGE}]},
                "preferred_output": [SAID],
                "non_preferred_output": [{**SAID, "content": "b"}],
            },
            "input.tools[0]",
            "wrong type",
        ),
        ({"prompt": {"text": "a", "role": "prompter", "replies": 5}}, "prompt.replies", "wrong type"),
    ],
)
def test_values_that_no_dataset_can_keep_are_one_fault_of_their_row(
    row: dict[str, object], field: str, kind: str, tmp_path: Path
) -> None:
    path = saved(tmp_path, "rows.jsonl", json.dumps(row))
    _, good, (fault,) = taken(path)
    assert (good, fault.field, fault.kind) == ([], field, kind)
    assert fault.hint
    assert run(["data", "check", str(path), "--json"]) == 1
    assert run(["data", "check", str(path), "--fix", str(tmp_path / "out.jsonl")]) == 0


def test_a_number_of_any_size_that_nobody_reads_is_written_as_it_is(tmp_path: Path) -> None:
    row = alpaca(1, id=HUGE, more={"n": -(10**30)}, output="\u00e9")
    path = saved(tmp_path, "rows.jsonl", json.dumps(row))
    assert faults(path) == []
    assert run(["data", "check", str(path), "--fix", str(tmp_path / "out.jsonl")]) == 0
    assert json.loads((tmp_path / "out.jsonl").read_text()) == row


def test_a_header_that_is_not_utf8_is_one_fault_and_its_rows_are_read(tmp_path: Path) -> None:
    path = saved(tmp_path, "rows.csv", "instruction;output;größe\nq;a;1\nq;b;2\n".encode("latin-1"))
    survey, good, (fault,) = taken(path)
    assert (len(good), fault.line, fault.field, fault.kind) == (2, 1, "header", "not UTF-8")
    assert survey.counts.ignored == {"gr\ufffd\ufffde": 2}
    assert run(["data", "check", str(path), "--json"]) == 1


def test_a_nest_of_any_depth_is_a_fault_and_nothing_else(tmp_path: Path) -> None:
    good = json.dumps(alpaca(1))
    for deep in ("[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000):
        for text in (f'{good}\n{{"x": {deep}}}\n{good}', f'[{good},\n{{"x": {deep}}},\n{good}]'):
            assert [(line, kind) for line, _, kind in faults(saved(tmp_path, "rows", text))] == [
                (2, "nested too deeply")
            ]
