"""A row being read: its value, the records it becomes, and every problem met on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from honed.data.shapes import calls, turns
from honed.data.shapes.drawn import Drawn
from honed.data.shapes.problem import BadTurnError, Problem
from honed.data.shapes.turns import Turn
from honed.data.sources.decode import kind_of
from honed.records import ATTRIBUTES, Check, Preference, Rating

Paths = Literal["all", "best"]
Record = Drawn | Preference | Rating

TAGS = ("task", "category", "benefit", "source", "language", "author", *ATTRIBUTES)
"""Text fields that become tags; ``category`` becomes ``task`` where a row has no ``task``."""

_NUMBERED = frozenset({"author", "source"})
"""Fields among ``TAGS`` in which a whole number is read as a text: it names them. Others would be codes."""

LOSS_WEIGHT = "loss_weight"
"""What the loss of a row's answers is multiplied by, besides what its turns say."""

EMPTY = ("", None)
_TOOLS = ("tools", "functions")
COMMON = frozenset({"system", "tags", "check", "declared", *_TOOLS})
"""Fields that every shape reads besides its own, if they are there; ``TAGS`` are more, where they hold a text."""


class _Present(NamedTuple):
    """Which of the fields that every shape reads a row has."""

    tags: tuple[str, ...]
    own_tags: bool
    check: bool
    declared: bool
    tools: bool


@lru_cache(4096)
def _present(keys: tuple[str, ...]) -> _Present:
    """All rows of a file have the same few sets of fields: each is looked at once."""
    return _Present(
        tuple(name for name in TAGS if name in keys),
        "tags" in keys,
        "check" in keys,
        "declared" in keys,
        any(name in keys for name in _TOOLS),
    )


@dataclass(slots=True)
class Reading:
    """What a row's fields hold.

    ``fields`` make its shape, ``extra`` is an optional one that it fills; ``said`` holds the turns of each record with
    their places in the row; ``ignored`` are names of fields that nothing read, ``doubts`` what of it matters.
    """

    value: Mapping[str, Any]
    paths: Paths = "all"
    records: list[Record] = field(default_factory=list)
    said: list[list[Turn]] = field(default_factory=list)
    fields: tuple[str, ...] = ()
    extra: str = ""
    problems: list[Problem] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    doubts: list[Problem] = field(default_factory=list)

    def wrong(self, path: tuple[str | int, ...], kind: str, message: str, hint: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(path, kind, message, hint))

    def text(self, key: str, *, needed: bool) -> str:
        """Return the text under ``key``; "" with a problem noted if it is of another type. Null may be no text."""
        found = self.value.get(key)
        if isinstance(found, str):
            return found
        if found is not None or needed:
            self.wrong((key,), "wrong type", f"a text is needed here, not {kind_of(found)}", "Write a text.")
        return ""

    def missing(self, title: str, names: Sequence[str]) -> None:
        """Note that a row has none of ``names``, of which one is needed."""
        more = f" (or {', '.join(map(repr, names[1:]))})" if names[1:] else ""
        self.wrong((names[0],), "missing field", f"there is no {names[0]!r}{more}", f"Every {title} row has it.")

    def first(self, names: Sequence[str]) -> str:
        """Return the first of ``names`` that holds something, else the first that the row has, or "".

        What others of them hold is noted as not read.
        """
        there = [name for name in names if name in self.value]
        if len(there) < 2:
            return there[0] if there else ""
        found = next((name for name in there if self.value[name] not in EMPTY), there[0])
        self.unread(name for name in there if name != found)
        return found

    def unread(self, names: Iterable[str]) -> None:
        """Note what fields hold that the shape knows and this row's form has no place for."""
        self.ignored += [name for name in names if self.value.get(name) not in EMPTY and name not in self.ignored]

    def turns_of(self, entries: object, path: tuple[str | int, ...]) -> list[Turn]:
        """Return the turns that a list writes; what can't be read is noted, and fields that nothing reads."""
        found, wrong = turns.all_of(entries, path)
        self.problems.extend(wrong)
        if isinstance(entries, list):
            for place, entry in enumerate(entries):
                if isinstance(entry, dict) and len(entry) > 2:
                    self.ignored.extend(f"{path[0]}[].{name}" for name in turns.others(entry))
                    self.doubts = (
                        self.doubts or list(turns.thought_beside(entry, (*path, place)))[:1]
                    )  # one counts the row
        return found

    def system(self) -> list[Turn]:
        """A field ``system`` is a turn before all others; many files have it on every row, and mostly empty."""
        if "system" not in self.value:
            return []
        text = self.text("system", needed=False)
        return [Turn("system", text, ("system",))] if text.strip() else []

    def tools(self) -> tuple[Mapping[str, Any], ...]:
        """Return the tools that the row defines."""
        if not _present(tuple(self.value)).tools:
            return ()
        key = self.first(_TOOLS)
        try:
            return calls.definitions(self.value[key], (key,))
        except BadTurnError as bad:
            self.problems.append(bad.problem)
            return ()

    def tags(self) -> dict[str, str]:
        """Return the row's tags: the text fields of ``TAGS``, and what ``tags`` holds if that is an object."""
        present = _present(tuple(self.value))
        found: dict[str, str] = {}
        for name in present.tags:
            text = self.value[name]
            if type(text) is int and name in _NUMBERED:
                text = str(text)
            if not isinstance(text, str):
                self.ignored.append(name)
            elif text:
                found[name] = text
        if "category" in found and "task" not in found:
            found["task"] = found.pop("category")
        if present.own_tags:
            self._own_tags(found)
        if present.declared and not declared(self.value):
            self.ignored.append("declared")
        return found

    def _loss_weight(self) -> float:
        if LOSS_WEIGHT not in self.value:
            return 1.0
        try:
            return turns.weight_of(self.value, (), LOSS_WEIGHT)
        except BadTurnError as bad:
            self.problems.append(bad.problem)
            return 1.0

    def _own_tags(self, found: dict[str, str]) -> None:
        own = self.value["tags"]
        if not isinstance(own, dict):
            self.ignored.append("tags")
            return
        for name, text in own.items():
            if isinstance(text, str):
                found[name] = text
            else:
                self.wrong(("tags", name), "wrong type", f"a tag is a text, not {kind_of(text)}", "Write a text.")

    def check(self) -> Check | None:
        """Return how the row's answer is judged, if it says so."""
        if not _present(tuple(self.value)).check:
            return None
        own = self.value["check"]
        if not isinstance(own, dict):
            self.ignored.append("check")
            return None
        try:
            return Check.model_validate(own)
        except ValidationError as error:
            first = error.errors()[0]
            path = ("check", *first["loc"])
            hint = 'A check is {"verifier": NAME, "params": {...}}; rename the field if it is something else.'
            self.wrong(path, "wrong type", f"not a check: {first['msg'].lower()}", hint)
            return None

    def conversations(self, *said: list[Turn]) -> None:
        """Make a record of each list of turns, if they and all else about the row are in order."""
        tags, check, tools, weight = self.tags(), self.check(), self.tools(), self._loss_weight()
        if self.problems:
            return
        for turns_ in said:
            self.problems.extend(turns.problems(turns_))
        if any(turn.weight * weight > turns.MOST for turns_ in said for turn in turns_):
            what = "a turn's weight times the row's is more than a dataset can keep"
            self.wrong((LOSS_WEIGHT,), "wrong type", what, "A weight is a number from 0; 1 is usual.")
        if not self.problems:
            self.said = [weighed(self.equipped(one, tools), weight) for one in said]
        if not self.problems:
            self.records = [Drawn(tuple(one), tags, check) for one in self.said]

    def equipped(self, said: list[Turn], tools: tuple[Mapping[str, Any], ...]) -> list[Turn]:
        """Return the turns, the first of which brings the tools: those of the row, or of any turn; others are noted."""
        if not tools and not any(turn.tools for turn in said):
            return said
        first = tools or next(turn.tools for turn in said if turn.tools)
        for turn in said:
            if turn.tools not in ((), first):
                entry = turn.path[:-1] if isinstance(turn.path[-1], str) else turn.path
                hint = "Write all of the row's tools into one list."
                self.wrong((*entry, "tools"), "two lists of tools", "other tools are defined before these", hint)
        return [turn._replace(tools=() if at else first) for at, turn in enumerate(said)]


def weighed(said: list[Turn], weight: float) -> list[Turn]:
    """Return the turns with the assistant's weights multiplied by the row's."""
    if weight == 1.0:
        return said
    return [turn._replace(weight=turn.weight * weight) if turn.role == "assistant" else turn for turn in said]


def declared(value: Mapping[str, Any]) -> Mapping[str, str]:
    """Return where a row says that attributes of its tags were declared: our own field ``declared``, as we write it.

    A field of that name that holds something else is another one's, and says nothing here.
    """
    own = value.get("declared")
    if not isinstance(own, dict) or not all(isinstance(where, str) and where for where in own.values()):
        return {}
    return own
