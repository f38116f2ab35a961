"""Tools in a conversation: as a chat template takes them, or as text where it knows none.

The text is that of Hermes ("Hermes Function Calling", Nous Research 2024), which Qwen's templates write as well: tools
as JSON lines in the system turn, each call as JSON between ``<tool_call>`` tags, each result between
``<tool_response>`` tags in a turn of the user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from honed.records import Message, ToolCall

PROBE_WORDS = ("probed_tool", "probed_meaning", "probed_argument", "probed_result")
"""What a template that knows tools lets through of ``PROBE``."""

PROBE: tuple[Message, ...] = (
    Message(
        role="user",
        content="a",
        tools=({"name": PROBE_WORDS[0], "description": PROBE_WORDS[1], "parameters": {"type": "object"}},),
    ),
    Message(
        role="assistant",
        content="",
        tool_calls=(ToolCall(name=PROBE_WORDS[0], arguments={"of": PROBE_WORDS[2]}, id="call00000"),),
    ),
    Message(role="tool", content=PROBE_WORDS[3], tool_call_id="call00000", name=PROBE_WORDS[0]),
    Message(role="assistant", content="b"),
)
"""A conversation with all that tools need."""

_HEADER = "You may call tools. Each line is one of them, as a JSON schema:"
_FORM = (
    "To call one, write its name and arguments as JSON between tags:\n"
    '<tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>'
)


def with_tools(messages: Sequence[Message]) -> bool:
    """Tell whether a conversation has tools, calls or results."""
    return any(message.tools or message.tool_calls or message.role == "tool" for message in messages)


def as_plain(
    messages: Sequence[Message], written: Callable[[str], str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return messages and tools as chat templates take them; ``written`` is done to every text in them."""
    tools = messages[0].tools if messages else ()
    functions = [{"type": "function", "function": _texts(tool, written)} for tool in tools]
    return [_message(message, written) for message in messages], functions


def as_text(messages: Sequence[Message]) -> list[Message]:
    """Return the conversation with tools, calls and results written out in turns of system, user and assistant."""
    said = [_introduced(messages[0])] if messages[0].tools else []
    for place, message in enumerate(messages):
        if place == 0 and message.tools and message.role == "system":
            continue
        if message.role == "tool":
            result = f"<tool_response>\n{message.content}\n</tool_response>"
            if place and messages[place - 1].role == "tool":
                said[-1] = Message(role="user", content=f"{said[-1].content}\n{result}")
            else:
                said.append(Message(role="user", content=result))
        elif message.tool_calls:
            said.append(Message(role="assistant", content=_called(message), weight=message.weight))
        else:
            said.append(message)
    return said


def _introduced(first: Message) -> Message:
    """Return the system turn that defines the tools that ``first`` brings, behind its own text if it is one."""
    lines = "\n".join(orjson.dumps(tool).decode() for tool in first.tools)
    opening = first.content + "\n\n" if first.role == "system" else ""
    return Message(role="system", content=f"{opening}{_HEADER}\n{lines}\n{_FORM}")


def _called(message: Message) -> str:
    calls = [
        f"<tool_call>\n{orjson.dumps({'name': call.name, 'arguments': dict(call.arguments)}).decode()}\n</tool_call>"
        for call in message.tool_calls
    ]
    return "\n".join([message.content, *calls] if message.content else calls)


def _message(message: Message, written: Callable[[str], str]) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": message.role, "content": written(message.content)}
    if message.tool_calls:
        plain["tool_calls"] = [
            {
                **({"id": call.id} if call.id else {}),
                "type": "function",
                "function": {"name": written(call.name), "arguments": _texts(call.arguments, written)},
            }
            for call in message.tool_calls
        ]
    named = {"tool_call_id": message.tool_call_id, "name": message.name}
    return plain | {name: value for name, value in named.items() if value}


def _texts(value: Any, written: Callable[[str], str]) -> Any:
    """Return a JSON value with ``written`` done to every text in it, keys included."""
    if isinstance(value, str):
        return written(value)
    if isinstance(value, Mapping):
        return {written(key): _texts(inner, written) for key, inner in value.items()}
    return [_texts(inner, written) for inner in value] if isinstance(value, list | tuple) else value
