"""Conversations as Alpaca, prompt/response, messages and ShareGPT rows."""

from __future__ import annotations

import orjson

from honed.data.forms.held import Form, Record, Row, UnheldError, Written, lost, more, plain, spoken, tools
from honed.records import Conversation, Message


def _conversation(record: Record) -> Conversation:
    if not isinstance(record, Conversation):
        raise UnheldError("preferences or ratings")
    return record


def _messages(record: Record) -> Written:
    row = _conversation(record)
    return {"messages": plain(row.messages), **more(row, "tags", "check", "tools")}, lost(row)


def _sharegpt(record: Record) -> Written:
    row = _conversation(record)
    said: list[Row] = []
    for turn in row.messages:
        weight = {} if turn.weight == 1 else {"weight": turn.weight}
        if turn.content or not turn.tool_calls:
            said.append({"from": _SPEAKERS[turn.role], "value": turn.content, **weight})
        if turn.tool_calls:
            said.append({"from": "function_call", "value": _calls(turn), **weight})
    defined = {"tools": orjson.dumps(tools(row)).decode()} if tools(row) else {}
    return {"conversations": said, **defined, **more(row, "tags", "check")}, lost(row, "call ids")


def _alpaca(record: Record) -> Written:
    row = _conversation(record)
    system, turns = _opening(row)
    texts = [turn["content"] for turn in spoken(turns)]
    history = {"history": [list(pair) for pair in zip(texts[:-2:2], texts[1:-2:2], strict=True)]} if texts[2:] else {}
    plain_row = {**system, **history, "instruction": texts[-2], "input": "", "output": texts[-1]}
    return {**plain_row, **more(row, "tags", "check")}, lost(row, "weights")


def _prompt_response(record: Record) -> Written:
    row = _conversation(record)
    system, turns = _opening(row)
    texts = [turn["content"] for turn in spoken(turns)]
    if len(texts) > 2:
        raise UnheldError("of more than one prompt and answer")
    return {**system, "prompt": texts[0], "response": texts[1], **more(row, "tags", "check")}, lost(row, "weights")


def _opening(row: Conversation) -> tuple[Row, tuple[Message, ...]]:
    """Return the field ``system``, if there is a system turn, and the other turns. Tools can't be held."""
    if tools(row):
        raise UnheldError("with tools")
    first = row.messages[0]
    return ({"system": first.content}, row.messages[1:]) if first.role == "system" else ({}, row.messages)


def _calls(turn: Message) -> str:
    called = [{"name": call.name, "arguments": dict(call.arguments)} for call in turn.tool_calls]
    return orjson.dumps(called[0] if len(called) == 1 else called).decode()


_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}

MESSAGES = Form(_messages)
SHAREGPT = Form(_sharegpt)
ALPACA = Form(_alpaca)
PROMPT_RESPONSE = Form(_prompt_response)
