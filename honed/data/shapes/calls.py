"""Tools in conversations: the definitions, calls and results that files write in several ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from honed.data.shapes.problem import BadTurnError
from honed.data.sources.decode import kind_of
from honed.data.sources.where import Path
from honed.records import ToolCall

CALLING = frozenset({"function_call", "tool_call"})
"""Roles whose text is a call, as ShareGPT files have them."""

RESULTS = frozenset({"tool", "function", "observation", "ipython", "tool_response", "function_response"})
"""Roles whose text is what a tool gave back."""

_HINT = 'A call is {"name": ..., "arguments": {...}}.'


def of_turn(entry: Mapping[str, Any], path: Path) -> tuple[ToolCall, ...]:
    """Return the calls that an assistant turn lists, as OpenAI writes them (today or formerly) or as honed does."""
    if entry.get("tool_calls"):
        listed, key = entry["tool_calls"], "tool_calls"
    elif entry.get("function_call"):
        listed, key = [entry["function_call"]], "function_call"
    else:
        return ()
    if not isinstance(listed, list):
        what = f"a list of calls is needed here, not {kind_of(listed)}"
        raise BadTurnError((*path, key), "wrong type", what, _HINT)
    return tuple(_call(one, (*path, key, place)) for place, one in enumerate(listed))


def in_text(text: object, path: Path) -> tuple[ToolCall, ...]:
    """Return the calls that a turn's text is: a JSON object, or a list of them."""
    value = text
    if isinstance(text, str):
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise BadTurnError(path, "bad tool call", "the text of a call isn't JSON", _HINT) from error
    listed = value if isinstance(value, list) else [value]
    if not listed:
        raise BadTurnError(path, "bad tool call", "no tool is called", _HINT)
    return tuple(_call(one, path) for one in listed)


def definitions(value: object, path: Path) -> tuple[Mapping[str, Any], ...]:
    """Return the tools that ``value`` defines: a list, perhaps written as text; none if it is empty."""
    if isinstance(value, str):
        if not value.strip():
            return ()
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise BadTurnError(
                path, "wrong type", "the text of the tools isn't JSON", "Write a list of tools."
            ) from error
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadTurnError(path, "wrong type", f"a list of tools is needed here, not {kind_of(value)}", "Write a list.")
    return tuple(_definition(one, (*path, place)) for place, one in enumerate(value))


def written(value: Mapping[str, Any], path: Path) -> str:
    """Return an object as the JSON that a dataset keeps. Raises ``BadTurnError`` if it holds what that can't."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:
        what = f"this can't be kept as JSON: {error}"
        raise BadTurnError(path, "wrong type", what, "Write texts, and whole numbers below 2**64.") from error


def _call(value: object, path: Path) -> ToolCall:
    if not isinstance(value, dict):
        raise BadTurnError(path, "bad tool call", f"a call is an object, not {kind_of(value)}", _HINT)
    inner = value["function"] if isinstance(value.get("function"), dict) else value
    name, arguments, id_ = inner.get("name"), inner.get("arguments", {}), value.get("id") or ""
    if not isinstance(name, str) or not name or not isinstance(id_, str):
        raise BadTurnError(path, "bad tool call", "a call names its tool in a text 'name'", _HINT)
    if isinstance(arguments, str):
        try:
            arguments = orjson.loads(arguments) if arguments.strip() else {}
        except orjson.JSONDecodeError as error:
            raise BadTurnError(path, "bad tool call", f"the arguments of {name!r} aren't JSON", _HINT) from error
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        what = f"the arguments of {name!r} are an object, not {kind_of(arguments)}"
        raise BadTurnError(path, "bad tool call", what, _HINT)
    written(arguments, path)
    return ToolCall(name=name, arguments=arguments, id=id_)


def _definition(value: object, path: Path) -> Mapping[str, Any]:
    inner = value.get("function") if isinstance(value, dict) and isinstance(value.get("function"), dict) else value
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        hint = 'A tool is {"name": ..., "description": ..., "parameters": {...}}.'
        raise BadTurnError(path, "wrong type", "a tool is an object with a text 'name'", hint)
    written(inner, path)
    return inner
