"""Records as Arrow columns, and back: how a dataset's Parquet files hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from honed.records import Check, Conversation, Message, Preference, Rating, ToolCall

Part = Literal["rows", "preferences", "ratings"]
Record = Conversation | Preference | Rating

_TURN = [
    ("role", pa.string()),
    ("content", pa.string()),
    ("weight", pa.float32()),
    ("tool_calls", pa.string()),
    ("tool_call_id", pa.string()),
    ("name", pa.string()),
    ("tools", pa.string()),
]
_TURNS = pa.list_(pa.struct(_TURN))
_TRACED = [("tags", pa.string()), ("events", pa.list_(pa.string())), ("declared", pa.string())]
_PROMPTED = [("id", pa.string()), ("prompt", _TURNS), *_TRACED]
SCHEMAS: Mapping[Part, pa.Schema] = {
    "rows": pa.schema(
        [("id", pa.string()), ("split", pa.string()), ("messages", _TURNS), ("check", pa.string()), *_TRACED]
    ),
    "preferences": pa.schema([*_PROMPTED, ("chosen", pa.string()), ("rejected", pa.string())]),
    "ratings": pa.schema([*_PROMPTED, ("answer", pa.string()), ("good", pa.bool_()), ("reason", pa.string())]),
}
"""Columns of each file. Tags, checks, tools, calls and ``declared`` are JSON texts, null where there are none."""

_OWN: Mapping[Part, tuple[str, ...]] = {
    "rows": (),
    "preferences": ("chosen", "rejected"),
    "ratings": ("answer", "good", "reason"),
}


def table(
    part: Part, records: Sequence[Any], splits: Sequence[str] | None = None, ids: Sequence[str] | None = None
) -> pa.Table:
    """Return records of one kind, or what has their attributes, as a table.

    ``splits`` says where each row belongs, null where it isn't known yet; ``ids`` are theirs if known already.
    """
    columns: dict[str, Any] = {
        "id": ids if ids is not None else [record.id for record in records],
        "tags": [_sorted(record.tags) or "{}" for record in records],
        "events": [record.events for record in records],
        "declared": [_sorted(record.declared) for record in records],
    }
    if part == "rows":
        columns["split"] = splits if splits is not None else [None] * len(records)
        columns["messages"] = _turns([record.messages for record in records])
        columns["check"] = [record.check.model_dump_json() if record.check else None for record in records]
    else:
        columns["prompt"] = _turns([record.prompt for record in records])
        columns |= {name: [getattr(record, name) for record in records] for name in _OWN[part]}
    schema = SCHEMAS[part]
    return pa.table([_array(columns[field.name], field.type) for field in schema], schema=schema)


def plain_rows(
    ids: bytes, roles: Sequence[str], texts: Sequence[str], ends: Sequence[int], tags: Sequence[str]
) -> pa.Table:
    """Return rows of turns without tools, checks and events as the table that ``table`` makes, from flat columns.

    ``ids`` has 8 bytes a row; the turns of row i are ``texts[ends[i - 1]:ends[i]]``; ``tags`` are JSON texts.
    """
    rows, turns = len(ends), len(texts)
    names, codes = ("system", "user", "assistant"), {"system": 0, "user": 1, "assistant": 2}
    said = pa.array(names).take(pa.array(np.fromiter(map(codes.__getitem__, roles), np.int32, turns)))
    none, nobody = pa.nulls(turns, pa.string()), pa.nulls(rows, pa.string())
    one = pa.array(np.ones(turns, np.float32))
    content = pa.array(texts, pa.string())
    inner = pa.StructArray.from_arrays([said, content, one, none, none, none, none], fields=list(_TURNS.value_type))
    offsets = pa.array(np.concatenate([[0], np.asarray(ends)]).astype(np.int32))
    places = pa.array(np.arange(rows + 1, dtype=np.int32) * 16)
    hexed = pa.StringArray.from_buffers(rows, places.buffers()[1], pa.py_buffer(ids.hex().encode()))
    columns = {
        "id": hexed,
        "split": nobody,
        "messages": pa.ListArray.from_arrays(offsets, inner),
        "check": nobody,
        "tags": pa.array(tags, pa.string()),
        "declared": nobody,
        "events": pa.ListArray.from_arrays(pa.array(np.zeros(rows + 1, np.int32)), pa.array([], pa.string())),
    }
    schema = SCHEMAS["rows"]
    return pa.table([columns[field.name] for field in schema], schema=schema)


def ordered(tables: Sequence[pa.Table], order: Any) -> pa.Table:
    """Return the rows of several tables in an order of their places in all of them together."""
    one = pa.concat_tables(tables)
    return one if (order == np.arange(len(order))).all() else one.take(pa.array(order)).combine_chunks()


def weighed(table: pa.Table, weights: Mapping[str, Sequence[float]]) -> pa.Table:
    """Return rows with turns that weigh as much at least as ``weights`` says of some of them, by their ids."""
    found = [(at, id_) for at, id_ in enumerate(table["id"].to_pylist()) if id_ in weights]
    if not found:
        return table
    lists = table["messages"].combine_chunks()
    turns, ends = lists.flatten(), np.cumsum([0, *pc.list_value_length(lists).to_pylist()])
    fields = dict(zip([field.name for field in turns.type], turns.flatten(), strict=True))
    weight = fields["weight"].to_numpy(zero_copy_only=False).copy()
    for at, id_ in found:
        here = slice(ends[at], ends[at + 1])
        weight[here] = np.maximum(weight[here], np.array(weights[id_], np.float32))
    fields["weight"] = pa.array(weight)
    inner = pa.StructArray.from_arrays(list(fields.values()), fields=list(_TURNS.value_type))
    column = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), inner)
    return table.set_column(table.schema.get_field_index("messages"), table.schema.field("messages"), column)


def record(part: Part, plain: Mapping[str, Any]) -> Record:
    """Return the record of one line of a table. Columns that older datasets lack are empty."""
    return _MADE[part](plain)


def fitted(part: Part, table: pa.Table) -> pa.Table:
    """Return a table of an older dataset with the columns that it lacks, empty."""
    schema = SCHEMAS[part]
    if table.schema.equals(schema):
        return table
    made = [table[field.name] if field.name in table.column_names else _empty(field, len(table)) for field in schema]
    return pa.table(made, names=schema.names).cast(schema)


def _empty(field: pa.Field, count: int) -> pa.Array:
    return pa.nulls(count, field.type)


def at(part: Part, table: pa.Table, place: int) -> Record:
    """Return the record at ``place`` of a table."""
    return record(part, table.slice(place, 1).to_pylist()[0])


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, kind)


def _sorted(value: Any) -> str | None:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() if value else None


def _turns(rows: Sequence[Sequence[Message]]) -> pa.Array:
    """Return the turns of each row as a list column, built flat: several times faster than from dicts."""
    offsets = [0]
    flat: list[Message] = []
    for turns in rows:
        flat.extend(turns)
        offsets.append(len(flat))
    columns: list[Iterable[Any]] = [
        [turn.role for turn in flat],
        [turn.content for turn in flat],
        [turn.weight for turn in flat],
        [_calls(turn) if turn.tool_calls else None for turn in flat],
        [turn.tool_call_id or None for turn in flat],
        [turn.name or None for turn in flat],
        [_tools(turn) if turn.tools else None for turn in flat],
    ]
    arrays = [pa.array(values, kind) for values, (_, kind) in zip(columns, _TURN, strict=True)]
    inner = pa.StructArray.from_arrays(arrays, fields=list(_TURNS.value_type))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), inner)


def _calls(turn: Message) -> str:
    return orjson.dumps([call.model_dump() for call in turn.tool_calls]).decode()


def _tools(turn: Message) -> str:
    """Return tools with their keys in the order given: a server writes them into its prompt as they come, too."""
    return orjson.dumps(turn.tools).decode()


def _messages(turns: Iterable[Mapping[str, Any]]) -> tuple[Message, ...]:
    return tuple(
        Message(
            role=turn["role"],
            content=turn["content"],
            weight=turn["weight"],
            tool_calls=tuple(ToolCall(**call) for call in _plain(turn.get("tool_calls"), [])),
            tool_call_id=turn.get("tool_call_id") or "",
            name=turn.get("name") or "",
            tools=tuple(_plain(turn.get("tools"), [])),
        )
        for turn in turns
    )


def _plain(text: str | None, empty: Any) -> Any:
    return orjson.loads(text) if text else empty


def _traced(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "tags": _plain(plain["tags"], {}),
        "events": tuple(plain.get("events") or ()),
        "declared": _plain(plain.get("declared"), {}),
    }


def _conversation(plain: Mapping[str, Any]) -> Conversation:
    check = plain["check"]
    return Conversation(
        messages=_messages(plain["messages"]),
        check=Check.model_validate_json(check) if check else None,
        **_traced(plain),
    )


def _preference(plain: Mapping[str, Any]) -> Preference:
    return Preference(
        prompt=_messages(plain["prompt"]), chosen=plain["chosen"], rejected=plain["rejected"], **_traced(plain)
    )


def _rating(plain: Mapping[str, Any]) -> Rating:
    own = {name: plain[name] for name in _OWN["ratings"]}
    return Rating(prompt=_messages(plain["prompt"]), **own, **_traced(plain))


_MADE: Mapping[Part, Callable[[Mapping[str, Any]], Record]] = {
    "rows": _conversation,
    "preferences": _preference,
    "ratings": _rating,
}
