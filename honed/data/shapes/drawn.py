"""A conversation as it was read: what a record holds, without the cost of making one for every row of a large file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from honed.data.shapes.turns import Turn
from honed.records import Check, Conversation


class Drawn(NamedTuple):
    """Turns in order and what else makes a ``Conversation``; its columns are written from either alike."""

    messages: tuple[Turn, ...]
    tags: Mapping[str, str] = {}
    check: Check | None = None
    events: tuple[str, ...] = ()
    declared: Mapping[str, str] = {}

    def record(self) -> Conversation:
        """Return the record."""
        turns = tuple(turn.message() for turn in self.messages)
        return Conversation(messages=turns, tags=self.tags, check=self.check, declared=self.declared)
