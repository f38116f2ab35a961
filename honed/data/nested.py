"""Lists of turns that a field holds as JSON text: a table of texts can't hold them otherwise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from honed.data.shapes import plain
from honed.data.shapes.problem import BadTurnError
from honed.data.shapes.table import FORMS, Shape, shape_of
from honed.data.shapes.turns import ROLES, meant
from honed.data.sources import where
from honed.data.sources.decode import Decoder, quick
from honed.records import Role

LISTS = ("messages", "conversations")
"""Fields that are lists of turns in all shapes that read them."""
_SIDES = ("prompt", "completion", "chosen", "rejected")
"""Fields that are texts or lists of turns; in a table only what is plainly such a list is read as one."""
_SAID = ("content", "value", "tool_calls", "function_call")


def opened(value: Mapping[str, Any], shape: Shape | None, *, table: bool) -> Mapping[str, Any]:
    """Return a row with lists of turns in place of the texts that hold them as JSON.

    ``shape`` is that of the file, or None while it isn't told; ``table``: all fields are texts, for lack of other
    types. Raises ``BadTurnError`` where the list is JSON that no row may hold.
    """
    if not (names := suspected(value, table=table)):
        return value
    own = plain.LISTS[shape][0] if shape and shape in plain.LISTS else ""
    shown = shape_of(value)
    found: dict[str, Any] = {}
    for name in names:
        # A row of another shape may have such a text besides, which would take the row over once it is a list.
        if name in _SIDES or name == own or shown is None or name in FORMS[shown].fields:
            turns = _list(name, value[name], sure=name == own)
            found.update({} if turns is None else {name: turns})
    return {**value, **found}


def suspected(value: Mapping[str, Any], *, table: bool) -> list[str]:
    """Return the fields whose texts may hold lists of turns, told by their first character."""
    return [
        name
        for name in ((*LISTS, *_SIDES) if table else LISTS)
        if type(text := value.get(name)) is str and text[:1] == "["
    ]


def _list(name: str, text: str, *, sure: bool) -> list[Any] | None:
    """Return the list of turns that ``text`` holds, or None if it holds anything else.

    It is read as a field of a row of JSON, so that it may hold just what such a row may.
    """
    row = f'{{"{name}":{text}}}'
    quickly = quick(row)
    if quickly is None:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return None
    else:
        found = quickly[name] if len(quickly) == 1 else None  # the text may have ended the list, and begun a field
    if not found or not (sure or _turns(name, found)) or not all(isinstance(one, dict) for one in found):
        return None
    return list(found) if quickly is not None else _careful(name, row)


def _careful(name: str, text: str) -> list[Any]:
    row = Decoder("").whole(text, 1)
    if row.value is None:
        (fault,) = row.faults
        path = next((path for path, _ in where.walk(text) if where.dotted(path) == fault.field), (name,))
        raise BadTurnError(path, fault.kind, fault.message, fault.hint)
    return list(row.value[name])


def _turns(name: str, found: list[Any]) -> bool:
    """Tell whether a list holds turns: all of a text's, lest it is data; one is enough where a list is usual.

    An answer of TRL's begins with the assistant.
    """
    speakers = [_speaker(one) for one in found]
    if name in LISTS:
        return any(speakers)
    return all(speakers) and (name != "completion" or speakers[0] == "assistant")


def _speaker(one: object) -> Role | None:
    """Return who says something in an object, or None: people, cities and managers have roles and origins too."""
    role = one.get("role", one.get("from")) if isinstance(one, dict) else None
    if not isinstance(one, dict) or not isinstance(role, str) or not any(name in one for name in _SAID):
        return None
    return ROLES.get(role) or ROLES.get(meant(role))
