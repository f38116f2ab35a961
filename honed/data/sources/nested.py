"""Lists of turns that a field holds as JSON text: a table of texts can't hold them otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

LISTS = ("messages", "conversations")
"""Fields that are lists of turns in all shapes, so that a text in them can be nothing else."""
_SIDES = ("prompt", "completion", "chosen", "rejected")
"""Fields that are texts or lists of turns; in a table only what is plainly such a list is read as one."""


def opened(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row with lists of turns in place of the texts that hold them as JSON, in ``LISTS`` only."""
    found = {name: value[name] for name in LISTS if type(value.get(name)) is str}
    return {**value, **_opened(found.items())} if found else value


def row(names: Iterable[str], fields: Iterable[str]) -> dict[str, Any]:
    """Return a record of a table as a row: its texts, and the lists of turns that some of them hold as JSON."""
    return _opened(zip(names, fields, strict=True))


def _opened(texts: Iterable[tuple[str, str]]) -> dict[str, Any]:
    return {name: _list(name, text) if text[:1] == "[" else text for name, text in texts}


def _list(name: str, text: str) -> Any:
    if name not in LISTS and name not in _SIDES:
        return text
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    if not found or not all(isinstance(one, dict) for one in found):
        return text
    return found if name in LISTS or _turns(found, name) else text


def _turns(found: list[dict[str, Any]], name: str) -> bool:
    """Tell whether objects are turns: somebody speaks in each, and an answer of TRL's begins with the assistant."""
    speakers = [one.get("role", one.get("from")) for one in found]
    if not all(isinstance(one, str) for one in speakers):
        return False
    return name != "completion" or speakers[0] in ("assistant", "gpt")
