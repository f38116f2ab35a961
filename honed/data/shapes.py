"""The shapes that instruction data comes in, told by their fields, and each turned into a ``Conversation``.

    alpaca           instruction, input or context (may be left out), output or response
    prompt-response  prompt or question or query, response or completion or answer
    messages         messages: [{role, content}], as chat data for OpenAI; our own rows are this with tags and check
    sharegpt         conversations: [{from, value}]

Every shape may have a text field ``system``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pydantic import ValidationError

from honed.data import turns
from honed.data.sources.decode import kind_of
from honed.data.turns import BadTurnError, Problem, Turn
from honed.records import Check, Conversation

Shape = Literal["alpaca", "prompt-response", "messages", "sharegpt"]
SHAPES: tuple[Shape, ...] = get_args(Shape)

TITLES: Mapping[Shape, str] = {
    "alpaca": "Alpaca",
    "prompt-response": "prompt/response",
    "messages": "messages",
    "sharegpt": "ShareGPT",
}
TAGS = ("task", "category", "audience", "benefit", "source", "language")
"""Text fields that become tags; ``category`` becomes ``task`` where a row has no ``task``."""

_LISTS: Mapping[Shape, str] = {"messages": "messages", "sharegpt": "conversations"}
_PAIRS: Mapping[Shape, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "alpaca": (("instruction",), ("output", "response")),
    "prompt-response": (("prompt", "question", "query"), ("response", "completion", "answer")),
}
_INPUTS = ("input", "context")


@dataclass
class Reading:
    """A row being read: every problem met, ``fields`` that make its shape, an optional one it also fills (``extra``).

    ``ignored`` are the fields that nothing has read yet.
    """

    value: Mapping[str, Any]
    row: Conversation | None = None
    fields: tuple[str, ...] = ()
    extra: str = ""
    problems: list[Problem] = field(default_factory=list)
    ignored: set[str] = field(default_factory=set)

    def wrong(self, path: tuple[str | int, ...], kind: str, message: str, hint: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(path, kind, message, hint))

    def text(self, key: str, *, needed: bool) -> str:
        """Return the text under ``key``; "" with a problem noted if it is of another type. Null may be no text."""
        self.ignored.discard(key)
        found = self.value.get(key)
        if isinstance(found, str):
            return found
        if found is not None or needed:
            self.wrong((key,), "wrong type", f"a text is needed here, not {kind_of(found)}", "Write a text.")
        return ""


def shape_of(value: Mapping[str, Any]) -> Shape | None:
    """Return the shape that a row's fields show, or None."""
    for shape, key in _LISTS.items():
        if isinstance(value.get(key), list):
            return shape
    return next((shape for shape in _PAIRS if all(_names(value, shape))), None)


def shape_of_all(values: Iterable[Mapping[str, Any]]) -> Shape | None:
    """Return the commonest shape of the rows, or None if no row has one."""
    counts = Counter(shape for value in values if (shape := shape_of(value)))
    return counts.most_common(1)[0][0] if counts else None


def read(value: Mapping[str, Any], shape: Shape) -> Reading:
    """Read a row of ``shape``: ``row`` is its conversation, or None and ``problems`` say what prevents it."""
    reading = Reading(value, ignored=set(value))
    other = shape_of(value)
    if other and other != shape and not _has_fields(value, shape):
        hint = "Split the file by shape; every row of a file has the same."
        message = f"two shapes in one file: this row is {TITLES[other]}, the file is {TITLES[shape]}"
        reading.wrong((next(iter(value)),), "two shapes", message, hint)
        return reading
    said = _listed(reading, shape) if shape in _LISTS else _paired(reading, shape)
    tags, check = _tags(reading), _check(reading)
    if not reading.problems:
        reading.problems.extend(turns.problems(said))
    if not reading.problems:
        reading.row = Conversation(messages=tuple(turn.message() for turn in said), tags=tags, check=check)
    return reading


def _names(value: Mapping[str, Any], shape: Shape) -> tuple[str, str]:
    """Return which names a row gives to the prompt and the answer, "" for one it doesn't have."""
    prompts, answers = _PAIRS[shape]
    return next((name for name in prompts if name in value), ""), next((name for name in answers if name in value), "")


def _has_fields(value: Mapping[str, Any], shape: Shape) -> bool:
    return _LISTS[shape] in value if shape in _LISTS else all(_names(value, shape))


def _listed(reading: Reading, shape: Shape) -> list[Turn]:
    key = _LISTS[shape]
    reading.fields = (key,)
    reading.ignored.discard(key)
    entries = reading.value.get(key)
    said = _system(reading)
    if key not in reading.value:
        reading.wrong((key,), "missing field", f"there is no {key!r}", f"Every {TITLES[shape]} row has it.")
    elif not isinstance(entries, list):
        reading.wrong((key,), "wrong type", f"a list of turns is needed here, not {kind_of(entries)}", "Write a list.")
    elif not entries:
        reading.wrong((key,), "empty prompt", "there are no turns", "Write the turns, or remove the row.")
    else:
        for place, entry in enumerate(entries):
            try:
                said.append(turns.read(entry, (key, place)))
            except BadTurnError as bad:
                if bad.problem.kind != "tool calls" or all(old.kind != "tool calls" for old in reading.problems):
                    reading.problems.append(bad.problem)  # tools are one problem of a row, however often it calls them
            else:
                reading.ignored.update(f"{key}[].{name}" for name in turns.others(entry))
    return said


def _paired(reading: Reading, shape: Shape) -> list[Turn]:
    prompt, answer = names = _names(reading.value, shape)
    reading.fields = names
    for found, known in zip(names, _PAIRS[shape], strict=True):
        if not found:
            more = f" (or {', '.join(map(repr, known[1:]))})" if known[1:] else ""
            hint = f"Every {TITLES[shape]} row has it."
            reading.wrong((known[0],), "missing field", f"there is no {known[0]!r}{more}", hint)
    texts = [reading.text(prompt, needed=True) if prompt else ""]
    if shape == "alpaca":
        name = next((name for name in _INPUTS if name in reading.value), _INPUTS[0])
        texts.append(reading.text(name, needed=False))
        reading.extra = name if texts[1] else ""
    asked = Turn("user", "\n".join(text for text in texts if text), (prompt,))
    return [*_system(reading), asked, Turn("assistant", reading.text(answer, needed=True) if answer else "", (answer,))]


def _system(reading: Reading) -> list[Turn]:
    """A field ``system`` is a turn before all others; many files have it on every row, and mostly empty."""
    text = reading.text("system", needed=False)
    return [Turn("system", text, ("system",))] if text.strip() else []


def _tags(reading: Reading) -> dict[str, str]:
    texts = {name: reading.value[name] for name in TAGS if isinstance(reading.value.get(name), str)}
    reading.ignored.difference_update(texts)
    found = {name: text for name, text in texts.items() if text}
    if "category" in found and "task" not in found:
        found["task"] = found.pop("category")
    own = reading.value.get("tags")
    if isinstance(own, dict):
        reading.ignored.discard("tags")
        for name, text in own.items():
            if isinstance(text, str):
                found[name] = text
            else:
                reading.wrong(("tags", name), "wrong type", f"a tag is a text, not {kind_of(text)}", "Write a text.")
    return found


def _check(reading: Reading) -> Check | None:
    own = reading.value.get("check")
    if not isinstance(own, dict):
        return None
    reading.ignored.discard("check")
    try:
        return Check.model_validate(own)
    except ValidationError as error:
        first = error.errors()[0]
        path = ("check", *first["loc"])
        hint = 'A check is {"verifier": NAME, "params": {...}}; rename the field if it is something else.'
        reading.wrong(path, "wrong type", f"not a check: {first['msg'].lower()}", hint)
        return None
