"""Turns of a conversation as files write them: each read with its problems named, then their order judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from honed.data.shapes import calls
from honed.data.shapes.problem import BadTurnError, Problem
from honed.data.sources.decode import kind_of
from honed.data.sources.where import Path
from honed.records import Message, Role, ToolCall

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    **dict.fromkeys(calls.RESULTS, "tool"),
    **dict.fromkeys(calls.CALLING, "assistant"),
}
"""Names of roles in files. Others that are plainly meant are named in ``MEANT``, and mended on demand only."""

MEANT: Mapping[str, str] = {
    "bot": "assistant",
    "chatbot": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "instruction": "user",
    "input": "user",
    "output": "assistant",
    "response": "assistant",
    "question": "user",
    "answer": "assistant",
}
REASONING = ("reasoning_content", "reasoning", "thinking")
"""Fields of an assistant's turn in which servers put what was thought before the answer."""
_OF_TOOLS = frozenset({"tool_calls", "function_call", "tool_call_id", "name", "tools"})
MOST = 3.4e38  # a dataset keeps weights in 32 bits
_TRAINED = ("train", "training")
"""Fields of a turn in which Axolotl says, true or false, whether it is learned."""
_READ = frozenset({"role", "from", "content", "value", "weight"}) | _OF_TOOLS


class Turn(NamedTuple):
    """A turn and the path of its text in the row."""

    role: Role
    content: str
    path: Path
    weight: float = 1.0
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    name: str = ""
    tools: tuple[Mapping[str, Any], ...] = ()

    def message(self) -> Message:
        """Return the turn as a record."""
        if self.tool_calls or self.role == "tool" or self.tools:
            return Message(
                role=self.role,
                content=self.content,
                weight=self.weight,
                tool_calls=self.tool_calls,
                tool_call_id=self.tool_call_id,
                name=self.name,
                tools=self.tools,
            )
        return Message(role=self.role, content=self.content, weight=self.weight)


def role_of(entry: object) -> Role | None:
    """Return who speaks in an entry of a list of turns, or None."""
    role = entry.get("role", entry.get("from")) if isinstance(entry, dict) else None
    return ROLES.get(role) if isinstance(role, str) else None


def meant(role: str) -> str:
    """Return the role that a name such as " User" or "bot" plainly means, or ""."""
    name = role.strip().lower()
    return name if name in ROLES else MEANT.get(name, "")


def all_of(entries: object, path: Path) -> tuple[list[Turn], list[Problem]]:
    """Return the turns that a list writes, and what is wrong with those that can't be read.

    A call that follows a text of the assistant belongs to the same turn.
    """
    found: list[Turn] = []
    wrong: list[Problem] = []
    if not isinstance(entries, list):
        what = f"a list of turns is needed here, not {kind_of(entries)}"
        return [], [Problem(path, "wrong type", what, "Write a list.")]
    if not entries:
        return [], [Problem(path, "empty prompt", "there are no turns", "Write the turns, or remove the row.")]
    for place, entry in enumerate(entries):
        try:
            turn = read(entry, (*path, place))
        except BadTurnError as bad:
            wrong.append(bad.problem)
            continue
        before = found[-1] if found else turn
        if turn.tool_calls and not turn.content and before.role == "assistant" and found and not before.tool_calls:
            found[-1] = before._replace(tool_calls=turn.tool_calls, tools=before.tools or turn.tools)
        else:
            found.append(turn)
    return found, wrong


def read(entry: object, path: Path) -> Turn:
    """Return the turn that ``entry`` writes as role/content or from/value. Raises ``BadTurnError``."""
    if not isinstance(entry, dict):
        hint = 'Write {"role": ..., "content": ...}.'
        raise BadTurnError(path, "wrong type", f"a turn is an object, not {kind_of(entry)}", hint)
    turn = _said(entry, path)
    if "tools" not in entry or turn.role == "tool":
        return turn
    return turn._replace(tools=calls.definitions(entry["tools"], (*path, "tools")))


def _said(entry: Mapping[str, Any], path: Path) -> Turn:
    role_key, role = _either(entry, path, "role", "from")
    known = ROLES.get(role) if isinstance(role, str) else None
    if known is None:
        raise _unknown(role, (*path, role_key))
    if role in calls.CALLING:
        text_key, text = _either(entry, path, "content", "value")
        called = calls.in_text(text, (*path, text_key))
        return Turn("assistant", "", (*path, text_key), _weight(entry, path, "assistant"), called)
    called = calls.of_turn(entry, path) if "tool_calls" in entry or "function_call" in entry else ()
    if called and known != "assistant":
        hint = "Calls belong to turns of the assistant."
        raise BadTurnError(path, "bad tool call", f"a turn of the role {role!r} calls tools", hint)
    if called and entry.get("content", entry.get("value")) is None:
        return Turn("assistant", "", path, _weight(entry, path, known), called)
    text_key, text = _either(entry, path, "content", "value")
    where = (*path, text_key)
    weight = _weight(entry, path, known)
    if known == "tool":
        return Turn("tool", _result(text, where), where, weight, (), _id(entry, "tool_call_id"), _id(entry, "name"))
    said = text if isinstance(text, str) else _content(text, where)
    return Turn(known, said, where, weight, called)


def others(entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of a turn that nothing reads."""
    answers = role_of(entry) == "assistant"
    for key, value in entry.items():
        said = key in _TRAINED and isinstance(value, bool) and (answers or not value)
        if (key not in _READ and not said) or (key == "tools" and role_of(entry) == "tool"):
            yield str(key)


def says_weight(entry: Mapping[str, Any]) -> bool:
    """Tell whether an assistant's turn says what its loss is multiplied by."""
    return entry.get("weight") is not None or any(isinstance(entry.get(name), bool) for name in _TRAINED)


def thought_beside(entry: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    """Yield that an answer's reasoning is left out, where it stands beside its text."""
    if role_of(entry) != "assistant" or entry.get("weight") == 0 or any(entry.get(name) is False for name in _TRAINED):
        return
    for name in REASONING:
        if (isinstance(said := entry.get(name), str) and said.strip()) or (isinstance(said, list) and said):
            what = "the reasoning beside the answer is not read: the answer is learned without it"
            hint = "To have it learned, write it before the answer, between the marks of the model's chat template."
            yield Problem((*path, name), "reasoning left out", what, hint)


def problems(turns: Sequence[Turn]) -> Iterator[Problem]:
    """Yield what is wrong with readable turns: empty texts, NUL characters, the first turn out of order."""
    for turn in turns:
        if not turn.content.strip() and not turn.tool_calls and turn.role != "tool":
            what = {"assistant": "answer", "user": "prompt", "system": "system turn"}[turn.role]
            yield Problem(turn.path, f"empty {what}", f"the {what} is empty", f"Write the {what}, or remove the row.")
        if "\0" in turn.content:
            yield Problem(turn.path, "NUL bytes", "the text holds a NUL character", "Remove it: no tokenizer has it.")
    yield from _order(turns)


_FOLLOWS: Mapping[str, tuple[Role, ...]] = {
    "": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user",),
    "calls": ("tool",),
    "tool": ("assistant", "tool"),
}


def _order(turns: Sequence[Turn]) -> Iterator[Problem]:
    hint = "Turns are: system (may be left out, first only), then user and assistant by turns, assistant last."
    expected = _FOLLOWS[""]
    for place, turn in enumerate(turns):
        if turn.role not in expected:
            if turn.role == "system":
                message = f"roles out of order: turn {place + 1} is system, which may only come first"
            else:
                wanted = " or ".join(role for role in expected if role != "system")
                message = f"roles out of order: turn {place + 1} is {turn.role}, {wanted} has to come here"
            yield Problem(turn.path[:-1] or turn.path, "roles out of order", message, hint)
            return
        expected = _FOLLOWS["calls" if turn.tool_calls else turn.role]
    if turns and turns[-1].role != "assistant":
        message = f"roles out of order: the last turn is {turns[-1].role}, there is no answer to learn"
        yield Problem(turns[-1].path[:-1] or turns[-1].path, "roles out of order", message, hint)


def _unknown(role: object, path: Path) -> BadTurnError:
    likely = meant(role) if isinstance(role, str) else ""
    hint = f"Roles are {', '.join(ROLES)}."
    if likely:
        hint = f"Write {likely!r}, or mend all of them: honed data check FILE --fix OUT."
    return BadTurnError(path, "unknown role", f"there is no role {role!r}", hint)


def _result(value: object, path: Path) -> str:
    """What a tool gave back is a text; files also write it as the JSON that it is."""
    if isinstance(value, dict):
        return calls.written(value, path)
    return _content(value, path)


def _id(entry: Mapping[str, Any], key: str) -> str:
    found = entry.get(key)
    return found if isinstance(found, str) else ""


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


def _weight(entry: Mapping[str, Any], path: Path, role: Role) -> float:
    weight = 1.0 if entry.get("weight") is None else weight_of(entry, path)
    left = role == "assistant" and any(entry.get(name) is False for name in _TRAINED)
    return 0.0 if left else weight


def weight_of(entry: Mapping[str, Any], path: Path, key: str = "weight") -> float:
    """Return what a turn's loss (or, under another key, a row's) is multiplied by. Raises ``BadTurnError``."""
    weight = entry.get(key)
    if weight is None:
        return 1.0
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= MOST:
        hint = "A weight is a number from 0; 1 is usual."
        raise BadTurnError((*path, key), "wrong type", f"{repr(weight)[:40]} can't be a weight", hint)
    return float(weight)
