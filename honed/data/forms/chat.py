"""Conversations as lists of turns: messages and ShareGPT rows, which hold tools."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from honed.data.forms.held import Record, Row, Written, conversation, each, lost, more, plain, tools
from honed.records import Message


def _messages(record: Record) -> Written:
    row = conversation(record)
    return {"messages": plain(row.messages), **more(row, "tags", "check", "tools")}, lost(row)


def _sharegpt(record: Record) -> Written:
    row = conversation(record)
    return {"conversations": said(row.messages), **defined(row), **more(row, "tags", "check")}, lost(row, "call ids")


def said(turns: Iterable[Message]) -> list[Row]:
    """Return turns as ShareGPT has them: a call is a turn of its own, after what was said along with it."""
    entries: list[Row] = []
    for turn in turns:
        weight = {} if turn.weight == 1 else {"weight": turn.weight}
        if turn.content or not turn.tool_calls:
            entries.append({"from": _SPEAKERS[turn.role], "value": turn.content, **weight})
        if turn.tool_calls:
            entries.append({"from": "function_call", "value": _calls(turn), **weight})
    return entries


def defined(record: Record) -> Row:
    """Return the field ``tools``, a text as ShareGPT has it, if the record defines any."""
    return {"tools": orjson.dumps(tools(record)).decode()} if tools(record) else {}


def _calls(turn: Message) -> str:
    called = [{"name": call.name, "arguments": dict(call.arguments)} for call in turn.tool_calls]
    return orjson.dumps(called[0] if len(called) == 1 else called).decode()


_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}

MESSAGES = each(_messages)
SHAREGPT = each(_sharegpt)
