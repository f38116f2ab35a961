"""One instruction in other words, with the answer that it has: what a model needs to be robust to wording."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from honed.data.curate.words import normal
from honed.data.synthesize import seeds
from honed.data.synthesize.config import SynthesizeConfig
from honed.data.synthesize.methods.method import (
    Made,
    RejectedError,
    Shape,
    asked,
    instruction,
    read,
    template,
    verified,
)
from honed.models.wire import Reply, Request
from honed.records import Conversation

_MANNERS = (
    "as a hurried person would type it",
    "in formal, complete sentences",
    "with the most important thing first",
    "as a question if it is a command, as a command if it is a question",
    "in simpler and shorter words",
    "as someone would say it aloud to a colleague",
)
_KEPT = re.compile(r"\d+(?:[.,]\d+)*|https?://\S+|[\w.+-]+@[\w.-]+\w|`[^`]+`|\"[^\"\n]+\"")
"""What a rewording must hold as it stands: numbers, addresses, code, quotations."""


class Reworded(Shape):
    """What the writer answers."""

    instruction: str


@dataclass(frozen=True)
class Reword:
    """``paraphrase``."""

    config: SynthesizeConfig
    rows: Sequence[Conversation]
    generator: str

    def first(self, unit: int) -> Request:
        """Ask for the instruction in another manner."""
        place, manner = unit % len(self.rows), (unit + unit // len(self.rows)) % len(_MANNERS)
        text = template("paraphrase", task=seeds.request(self.rows[place]), manner=_MANNERS[manner])
        return asked(self.config, text, Reworded, seed=unit // len(self.rows))

    def then(self, _unit: int, _reply: Reply) -> Sequence[Request]:
        """Ask for nothing: the answer is there."""
        return []

    def made(self, unit: int, reply: Reply, _later: Sequence[Reply]) -> Made:
        """Put the new words in the place of the old ones."""
        seed = self.rows[unit % len(self.rows)]
        found, mended = read(reply, Reworded)
        text, old = instruction(found.instruction, reply), seeds.request(seed)
        if missing := sorted({one for one in _KEPT.findall(old) if one not in text}):
            raise RejectedError("changed facts", f"{missing[0]} of the instruction is not in its rewording", reply.text)
        if normal(text) == normal(old):
            raise RejectedError("unchanged", "the rewording is the instruction itself", reply.text)
        if normal(seed.answer) in normal(text) and len(seed.answer.split()) > 3:
            raise RejectedError("answer in instruction", "the rewording gives the answer away", reply.text)
        turns = tuple(
            turn.model_copy(update={"content": text}) if turn.role == "user" else turn for turn in seed.messages
        )
        row = Conversation(
            messages=turns,
            tags=seeds.tags(self.config, self.generator, seed, keep=True),
            check=seed.check,
            declared=seed.declared,
        )
        verified(row.check, row.prompt, row.answer)
        return Made(row, text, mended)

    def guess(self, _unit: int) -> Sequence[Request]:
        """Guess nothing: one request is all."""
        return []
