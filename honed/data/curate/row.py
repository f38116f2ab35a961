"""A row as the steps of a recipe read it, and what a step finds about it."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import orjson

Action = Literal["drop", "change", "report"]

UNLEARNED = ("rejected answer", "bad answer")
"""What answers are called that a model learns not to say (``Row.named``)."""


class Turn(NamedTuple):
    """Who says what; ``calls`` are the tool calls as JSON, or ""; ``tools``, on the first turn, what may be called."""

    role: str
    content: str
    calls: str = ""
    tools: str = ""


class Row(NamedTuple):
    """A row: its number (from 0), its id, its turns, and whether it has a verifier.

    A preference is a row whose last two turns are answers to one prompt (``replies``), the chosen one first; a rating
    is one whose answer has a ``verdict``, good or bad. The id is that of the stored row, also when a step before has
    changed its words.
    """

    number: int
    id: str
    turns: tuple[Turn, ...]
    checked: bool = False
    replies: int = 1
    verdict: str = ""

    @property
    def tools(self) -> str:
        """The tools that may be called, as JSON, or "": the same words with other tools are another row.

        Its keys are sorted, for their order makes no other tools of them.
        """
        return _sorted(self.turns[0].tools)

    @property
    def before(self) -> tuple[Turn, ...]:
        """The turns before the final answer, or before both of a preference."""
        return self.turns[: -self.replies]

    @property
    def last(self) -> tuple[Turn, ...]:
        """The final answer, or both of a preference."""
        return self.turns[-self.replies :]

    @property
    def answer(self) -> str:
        """The final answer, or both, with the tools that it calls."""
        return "\n".join(self.answers())

    def answers(self) -> list[str]:
        """Return the final answer, or both, each with the tools that it calls."""
        return [f"{turn.content} {turn.calls}" if turn.calls else turn.content for turn in self.last]

    def named(self) -> list[tuple[str, Turn]]:
        """Return the final answer, or both, with what each is called; see ``UNLEARNED``."""
        if self.replies == 1:
            return [("bad answer" if self.verdict == "bad" else "answer", self.turns[-1])]
        return list(zip(("chosen answer", "rejected answer"), self.last, strict=True))

    def single(self) -> list[Row]:
        """Return the row as plain ones, an answer each, without verdicts."""
        return [Row(self.number, self.id, (*self.before, turn), self.checked) for turn in self.last]

    @property
    def system(self) -> str:
        """What the system turns say."""
        return "\n".join(turn.content for turn in self.turns if turn.role == "system")

    def prompts(self) -> list[str]:
        """Return the turns before the final answer but those of the system: many rows share one system prompt."""
        return [turn.content + turn.calls for turn in self.before if turn.role != "system"]


@lru_cache(256)
def _sorted(text: str) -> str:
    """Return JSON with its keys sorted; most rows of a dataset bring one of a few lists of tools."""
    return orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS).decode() if text else ""


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
