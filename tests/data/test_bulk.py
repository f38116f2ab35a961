"""Rows read many at once come out as those read one by one, whatever stands between them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from honed.data import attributes, bulk
from honed.data.intake import Counts, Intake, Manner, Refused
from honed.data.mapping import ColumnMap
from honed.data.parts import PARTS, Read, Reader
from honed.data.shapes.columnar import SHAPES
from honed.data.shapes.drawn import Drawn
from honed.data.shapes.table import Shape
from honed.data.sources.lines import Lines
from honed.data.sources.row import Block, Known, Row
from honed.records import Fault, turns_id
from honed.store import columns

ODD = (
    *("", " ", " padded", "ends with\n", "a\0b", "{{name}}", "[insert name]", "lorem ipsum", "Lorem ipsum dolor"),
    *(
        "I'm sorry, but I can't help with that.",
        "Unfortunately, I cannot",
        "Es tut mir leid, aber nein",
        "Desculpe, mas não",
        "抱歉，我无法回答",
        "### Response",
        "a\nHuman: b",
        "Ã¼ber",
        "naïve",
    ),
    *(
        "one two three four five six seven and the",
        "One is here. then two three four five six stop here now",
        "\u3000x",
    ),
    *("The house is big and it is not for the cat which can be with you", 'quote " and back\\slash \\" end', "</s>"),
    *("Das Haus ist groß und die Katze ist nicht auf dem Dach, sie wird mit der Maus im Garten sein", "İΣ able to Σ"),
    *("Explain the house which is not for the cat but of that, and it can be", "### Instruction", "<your name>", "ok,"),
)
texts = st.sampled_from(ODD) | st.text(max_size=12) | st.just("A plain text.") | st.just("B")
odd = texts | st.none() | st.booleans() | st.sampled_from([0, 2**62, 1.5, 1e300, -1e17, [], {}, [1], {"a": {"b": "c"}}])
PAIRED = "instruction input context output response prompt completion system history tools category task source rank"
pairs = st.fixed_dictionaries(
    {"instruction": texts, "output": texts},
    optional={"input": texts, "category": texts, "rank": odd, "source": odd, "audience": texts},
)
prompted = st.fixed_dictionaries(
    {"prompt": texts, "response": texts}, optional={"task": texts, "score": odd, "context": odd, "instruction": odd}
)
loose = st.dictionaries(st.sampled_from(PAIRED.split()), odd, max_size=5)
turn = st.builds(
    lambda names, role, text: {names[0]: role, names[1]: text},
    st.sampled_from([("role", "content"), ("from", "value")]),
    st.sampled_from(["user", "assistant", "system", "human", "gpt", "tool", 3]),
    odd,
)
ordered = st.builds(
    lambda asked, said, more: [
        {"role": "user", "content": asked},
        {"role": "assistant", "content": said},
        *more,
    ],
    texts, texts, st.lists(turn, max_size=2),
)  # fmt: skip
chats = st.builds(
    lambda turns, key: {key: turns}, ordered | st.lists(turn), st.sampled_from(["messages", "conversations"])
)
rows = pairs | prompted | loose | chats
broken = st.sampled_from(
    [
        *(
            "",
            "  ",
            "\t",
            "[1]",
            "3",
            "null",
            "{}",
            '{"prompt": "a"',
            '{"prompt": "a", "prompt": "b", "response": "c"}',
        ),
        *(
            '{"prompt":"a\\u0000","response":"b"}',
            '{"prompt":"\\ud800","response":"b"}',
            '{"prompt":"a","response":NaN}',
        ),
        *('{"prompt":"a","response":"b"},{"prompt":"c"}', '{"prompt":"a","response":"b","x":{"k":1,"k":2}}'),
        *(f'{{"prompt":"a","response":"b","x":{"[" * 70}{"]" * 70}}}', '{"instruction":"\\"","output":"\\\\"}\r'),
    ]
)
lines = (
    st.builds(lambda row: json.dumps(row), rows) | st.builds(lambda r: json.dumps(r, ensure_ascii=False), rows) | broken
)
raw = st.builds(lambda line: line.encode(errors="surrogateescape"), lines) | st.just(
    b'{"prompt":"\xff","response":"b"}'
)
MAPS = ({}, {"instruction": "prompt", "output": "response"})


def one_by_one(block: Block, manner: Manner) -> Read:
    """What a block holds, with nothing read by columns: written a second time, from ``Intake`` alone."""
    intake, found = Intake(manner), []
    records: dict[str, list[Any]] = {}
    read = Reader(manner, keep=True)(Known(()))
    for one in intake.read(block):
        if isinstance(one, Refused):
            read.refused.append(one)
            continue
        read.warnings += one.warnings
        for made_of in one.records:
            record = attributes.declared(made_of, one.source.value or {}, manner)
            assert isinstance(record, Drawn)
            records.setdefault("rows", []).append(record)
            answered = [at for at, turn in enumerate(record.messages) if turn.role == "assistant"]
            prompts = [int(turns_id(record.messages[:at]), 16) for at in answered]
            found.append((one.source.line, turns_id(record.messages), prompts))
    ids = [turns_id(record.messages) for record in records.get("rows", [])]
    tables = {"rows": columns.table("rows", records["rows"], ids=ids)} if records else {}
    return Read(intake.counts, found, read.refused, read.warnings, tables)  # type: ignore[arg-type]


def plainly(counts: Counts) -> list[Any]:
    names = ("fields", "extras", "ignored", "kinds", "warnings")
    return [counts.rows, counts.usable, *(list(getattr(counts, name).items()) for name in names)]


def agree(block: Block, shape: Shape, mapped: dict[str, str]) -> None:
    manner = Manner("rows.jsonl", shape, ColumnMap(mapped))
    read, told = Reader(manner, keep=True)(block), one_by_one(block, manner)
    assert plainly(read.counts) == plainly(told.counts)
    assert (read.refused, read.warnings) == (told.refused, told.warnings)
    keys = read.keys
    plain = zip(keys.lines.tolist(), keys.ids.tolist(), keys.prompts.tolist(), strict=True)
    assert [
        (line, f"{id_:016x}", [*keys.before.get(at, ()), prompt]) for at, (line, id_, prompt) in enumerate(plain)
    ] == told.keys
    assert set(keys.parts.tolist()) <= {PARTS.index("rows")}
    assert read.tables.keys() == told.tables.keys()
    for part, table in read.tables.items():
        assert table.to_pylist() == told.tables[part].to_pylist()
        assert table.schema == told.tables[part].schema
    checked = Reader(manner, keep=False)(block)
    assert (plainly(checked.counts), checked.refused, checked.warnings) == (
        plainly(read.counts),
        read.refused,
        read.warnings,
    )
    assert checked.keys.ids.tolist() == keys.ids.tolist()


@settings(deadline=None, max_examples=120)
@given(st.lists(raw, max_size=8), st.sampled_from(sorted(SHAPES)), st.sampled_from(MAPS))
@example([b'{"prompt":"a","response":"b"}'] * 3, "prompt-response", {})
def test_lines_read_at_once_are_what_they_are_one_by_one(
    data: list[bytes], shape: Shape, mapped: dict[str, str]
) -> None:
    agree(Lines(5, b"\n".join(data)), shape, mapped)


@settings(deadline=None, max_examples=40)
@given(st.lists(rows, max_size=8), st.sampled_from(sorted(SHAPES)))
def test_rows_of_tables_read_at_once_are_what_they_are_one_by_one(data: list[dict[str, Any]], shape: Shape) -> None:
    agree(Known(tuple(Row(number, None, row) for number, row in enumerate(data, 1))), shape, {})


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_ordinary_rows_of_every_shape_are_read_by_their_columns(shape: str) -> None:
    row = {
        "alpaca": {"instruction": "q", "input": "", "output": "a", "score": 0.5},
        "dolly": {"instruction": "q", "context": "c", "response": "a", "category": "qa"},
        "prompt-response": {"prompt": "q", "context": "c", "response": "a"},
        "messages": {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        "sharegpt": {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
    }[shape]
    parted = bulk.parted(Lines(1, json.dumps(row).encode()), Manner("f", shape, ColumnMap({})))  # type: ignore[arg-type]
    assert [several.places for several in parted.several] == [[0]]


def test_warnings_of_faulty_neighbours_stand_at_their_own_lines() -> None:
    data = b'{"prompt":"a","response":"{{name}}"}\n\n{"prompt":"b","response":""}\n{"prompt":"c","response":" d"}'
    read = Reader(Manner("f", "prompt-response", ColumnMap({})), keep=False)(Lines(1, data))
    told = [(fault.line, fault.kind) for fault in read.warnings]
    assert told == [(1, "placeholder"), (4, "stray whitespace")]
    faults: list[Fault] = [fault for refused in read.refused for fault in refused.faults]
    assert [(fault.line, fault.field) for fault in faults] == [(3, "response")]
