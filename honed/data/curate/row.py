"""A row as the steps of a recipe read it, and what a step finds about it."""

from __future__ import annotations

from typing import Literal, NamedTuple

Action = Literal["drop", "change", "report"]


class Turn(NamedTuple):
    """Who says what; ``calls`` are the tool calls as JSON, or ""."""

    role: str
    content: str
    calls: str = ""


class Row(NamedTuple):
    """A row: its place among those of its split (from 0), its id, its turns, and whether it has a verifier.

    ``tools`` are those that may be called, as JSON, or "": the same words with other tools are another row. The id is
    that of the stored row, also when a step before has changed its words.
    """

    number: int
    id: str
    turns: tuple[Turn, ...]
    checked: bool = False
    tools: str = ""

    @property
    def answer(self) -> str:
        """The final answer, with the tools that it calls."""
        last = self.turns[-1]
        return f"{last.content} {last.calls}" if last.calls else last.content

    @property
    def system(self) -> str:
        """What the system turns say."""
        return "\n".join(turn.content for turn in self.turns if turn.role == "system")

    def prompts(self) -> list[str]:
        """Return the turns before the final answer but those of the system: many rows share one system prompt."""
        return [turn.content + turn.calls for turn in self.turns[:-1] if turn.role != "system"]


class Finding(NamedTuple):
    """What a step found about the row ``number``: what kind of thing, in a sentence, and what is done about it.

    ``other`` is the row, here or in an evaluation set, that it was found beside, or "". ``turns`` are the row's words
    from now on (``change``), or those to list it with (``drop``) where its own must not be written down again.
    """

    number: int
    id: str
    kind: str
    action: Action
    what: str
    other: str = ""
    turns: tuple[Turn, ...] = ()
