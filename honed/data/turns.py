"""Turns of a conversation as files write them: each read with its problems named, then their order judged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from honed.data.sources.decode import kind_of
from honed.data.sources.where import Path
from honed.records import Message, Role

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}
_TOOL_ROLES = frozenset({"tool", "function", "function_call", "tool_call", "observation", "ipython"})
_TOOL_KEYS = ("tool_calls", "function_call")
_READ = frozenset({"role", "from", "content", "value", "weight"})


class Problem(NamedTuple):
    """What is wrong with the field of a row at ``path``."""

    path: Path
    kind: str
    message: str
    hint: str


class Turn(NamedTuple):
    """A turn and the path of its text in the row."""

    role: Role
    content: str
    path: Path
    weight: float = 1.0

    def message(self) -> Message:
        """Return the turn as a record."""
        return Message(role=self.role, content=self.content, weight=self.weight)


class BadTurnError(Exception):
    """A turn can't be read; ``problem`` says why."""

    def __init__(self, path: Path, kind: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.problem = Problem(path, kind, message, hint)


def read(entry: object, path: Path) -> Turn:
    """Return the turn that ``entry`` writes as role/content or from/value. Raises ``BadTurnError``."""
    if not isinstance(entry, dict):
        hint = 'Write {"role": ..., "content": ...}.'
        raise BadTurnError(path, "wrong type", f"a turn is an object, not {kind_of(entry)}", hint)
    if _calls_tools(entry):
        hint = "honed trains on turns of text only."
        raise BadTurnError(path, "tool calls", "this row calls tools, which honed can't train on yet", hint)
    role_key, role = _either(entry, path, "role", "from")
    text_key, text = _either(entry, path, "content", "value")
    if not isinstance(role, str) or role not in _ROLES:
        hint = f"Roles are {', '.join(_ROLES)}."
        raise BadTurnError((*path, role_key), "unknown role", f"there is no role {role!r}", hint)
    return Turn(_ROLES[role], _content(text, (*path, text_key)), (*path, text_key), _weight(entry, path))


def others(entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of a turn that nothing reads."""
    return (str(key) for key in entry if key not in _READ)


def problems(turns: Sequence[Turn]) -> Iterator[Problem]:
    """Yield what is wrong with readable turns: empty texts, NUL characters, the first turn out of order."""
    for turn in turns:
        if not turn.content.strip():
            what = {"assistant": "answer", "user": "prompt", "system": "system turn"}[turn.role]
            yield Problem(turn.path, f"empty {what}", f"the {what} is empty", f"Write the {what}, or remove the row.")
        if "\0" in turn.content:
            yield Problem(turn.path, "NUL bytes", "the text holds a NUL character", "Remove it: no tokenizer has it.")
    yield from _order(turns)


def _order(turns: Sequence[Turn]) -> Iterator[Problem]:
    hint = "Turns are: system (may be left out, first only), then user and assistant by turns, assistant last."
    expected: tuple[Role, ...] = ("system", "user")
    for place, turn in enumerate(turns):
        if turn.role not in expected:
            if turn.role == "system":
                message = f"roles out of order: turn {place + 1} is system, which may only come first"
            else:
                message = f"roles out of order: turn {place + 1} is {turn.role}, {expected[-1]} has to come here"
            yield Problem(turn.path[:-1] or turn.path, "roles out of order", message, hint)
            return
        expected = ("assistant",) if turn.role == "user" else ("user",)
    if turns and turns[-1].role != "assistant":
        message = f"roles out of order: the last turn is {turns[-1].role}, there is no answer to learn"
        yield Problem(turns[-1].path[:-1] or turns[-1].path, "roles out of order", message, hint)


def _calls_tools(entry: Mapping[str, Any]) -> bool:
    role = entry.get("role", entry.get("from"))
    return (isinstance(role, str) and role in _TOOL_ROLES) or any(entry.get(key) for key in _TOOL_KEYS)


def _either(entry: Mapping[str, Any], path: Path, first: str, second: str) -> tuple[str, Any]:
    for key in (first, second):
        if key in entry:
            return key, entry[key]
    hint = 'A turn is {"role": ..., "content": ...} or {"from": ..., "value": ...}.'
    raise BadTurnError(path, "missing field", f"the turn has neither {first!r} nor {second!r}", hint)


def _content(text: object, path: Path) -> str:
    if isinstance(text, str):
        return text
    if isinstance(text, list):
        return "".join(_part(part, (*path, place)) for place, part in enumerate(text))
    raise BadTurnError(path, "wrong type", f"a text is needed here, not {kind_of(text)}", "Write a text.")


def _part(part: object, path: Path) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    what = f"a part of type {part.get('type')!r}" if isinstance(part, dict) else kind_of(part)
    hint = 'Parts of a turn are {"type": "text", "text": ...}; honed trains on text only.'
    raise BadTurnError(path, "wrong type", f"a text part is needed here, not {what}", hint)


def _weight(entry: Mapping[str, Any], path: Path) -> float:
    weight = entry.get("weight")
    if weight is None:
        return 1.0
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
        hint = "A turn's weight is a number from 0; 1 is usual."
        raise BadTurnError((*path, "weight"), "wrong type", f"{weight!r} can't be a weight", hint)
    return float(weight)
