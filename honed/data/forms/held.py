"""What a shape of files can hold of a record, and what every writer of one shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from honed.records import Conversation, Message, Preference, Rating, ToolCall

Record = Conversation | Preference | Rating
Row = dict[str, Any]
Written = tuple[Row, tuple[str, ...]]
"""A row, and the names of what the record had and the row lacks."""


class UnheldError(Exception):
    """The shape can't hold this record at all; ``reason`` completes "left out: 3 ..."."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class Tally:
    """How many records were written, how often what was left out for which reason, and what the rest lost.

    ``listed`` gets every record that is left out, with the reason.
    """

    written: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    listed: Callable[[Record, str], None] = field(default=lambda _record, _reason: None, compare=False, repr=False)

    def leave(self, record: Record, reason: str) -> None:
        """Count a record that isn't written, and list it."""
        self.left_out[reason] += 1
        self.listed(record, reason)


@dataclass(frozen=True)
class Form:
    """How records are written in a shape, and counted. ``array``: its tools read one JSON array, not lines."""

    rows: Callable[[Iterable[Record], Tally], Iterator[Row]]
    array: bool = False


def each(write: Callable[[Record], Written], *, array: bool = False) -> Form:
    """Return the form that makes a row of every record. ``write`` raises ``UnheldError`` where it can't."""

    def rows(records: Iterable[Record], tally: Tally) -> Iterator[Row]:
        for record in records:
            try:
                row, without = write(record)
            except UnheldError as error:
                tally.leave(record, error.reason)
            else:
                tally.written += 1
                tally.lost.update(without)
                yield row

    return Form(rows, array)


def conversation(record: Record) -> Conversation:
    """Return a record that is a conversation. Raises ``UnheldError`` for others."""
    if not isinstance(record, Conversation):
        raise UnheldError("preferences or ratings")
    return record


def opening(turns: Sequence[Message]) -> tuple[Row, Sequence[Message]]:
    """Return the field ``system``, if there is a system turn, and the other turns.

    Raises ``UnheldError`` if there are tools, or no prompt to begin with.
    """
    if turns[0].tools:
        raise UnheldError("with tools")
    own, others = ({"system": turns[0].content}, turns[1:]) if turns[0].role == "system" else ({}, turns)
    if not others or others[0].role != "user":
        raise UnheldError("that don't begin with a prompt")
    return own, others


def more(record: Record, *names: str) -> Row:
    """Return what else a record holds, of ``names``, as our own fields: only what it has."""
    found: Row = {}
    if "tags" in names and record.tags:
        found["tags"] = dict(record.tags)
    if "tags" in names and record.declared:
        found["declared"] = dict(record.declared)
    if "check" in names and isinstance(record, Conversation) and record.check:
        found["check"] = record.check.model_dump(mode="json")
    if "tools" in names and (defined := tools(record)):
        found["tools"] = [{"type": "function", "function": tool} for tool in defined]
    return found


def lost(record: Record, *names: str) -> tuple[str, ...]:
    """Return which of ``names``, and of the events it came from, a record has: what its row lacks."""
    turns = record.messages if isinstance(record, Conversation) else record.prompt
    has = {
        "events": bool(record.events),
        "tags": bool(record.tags),
        "declared": bool(record.declared),
        "check": isinstance(record, Conversation) and record.check is not None,
        "weights": any(turn.weight != 1 for turn in turns),
        "call ids": any(turn.tool_call_id or turn.name or any(call.id for call in turn.tool_calls) for turn in turns),
    }
    return tuple(name for name in ("events", *names) if has[name])


def plain(turns: Sequence[Message]) -> list[Row]:
    """Return turns as OpenAI writes messages; a weight other than 1 is written beside."""
    return [_message(turn) for turn in turns]


def spoken(turns: Iterable[Message]) -> list[Row]:
    """Return turns of text alone. Raises ``UnheldError`` if there are others."""
    if any(turn.tool_calls or turn.role == "tool" for turn in turns):
        raise UnheldError("with tool calls")
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def arguments(call: ToolCall) -> str:
    """Return a call's arguments as JSON text."""
    return orjson.dumps(dict(call.arguments)).decode()


def _message(turn: Message) -> Row:
    row: Row = {"role": turn.role, "content": turn.content}
    if turn.tool_calls:
        row["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments(call)}}
            for call in turn.tool_calls
        ]
    for name, value in (("tool_call_id", turn.tool_call_id), ("name", turn.name)):
        if value:
            row[name] = value
    if turn.weight != 1:
        row["weight"] = turn.weight
    return row


def tools(record: Record) -> list[Mapping[str, Any]]:
    """Return the tools that a record defines, as ShareGPT files have them."""
    turns = record.messages if isinstance(record, Conversation) else record.prompt
    return [dict(tool) for tool in turns[0].tools]
