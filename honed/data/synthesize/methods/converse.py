"""A conversation that goes on: what the user would say next, and the answer to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from honed.data.synthesize import seeds
from honed.data.synthesize.config import SynthesizeConfig
from honed.data.synthesize.methods.method import Made, RejectedError, Shape, asked, read, sound, template, whole
from honed.models.wire import Reply, Request
from honed.records import Conversation, Message

_SPEAKERS = {"user": "User", "assistant": "Assistant", "system": "Instructions to the assistant"}


class Turn(Shape):
    """A turn of the user and its answer."""

    user: str = Field(min_length=1)
    assistant: str = Field(min_length=1)


class Continued(Shape):
    """What the writer answers."""

    turns: list[Turn] = Field(min_length=1)


@dataclass(frozen=True)
class Converse:
    """``continue``. Only the new answers carry a loss: the others are in their own row already."""

    config: SynthesizeConfig
    rows: Sequence[Conversation]
    generator: str

    def first(self, unit: int) -> Request:
        """Ask how it goes on."""
        seed = self.rows[unit % len(self.rows)]
        said = "\n\n".join(f"{_SPEAKERS[turn.role]}: {turn.content}" for turn in seed.messages)
        text = template("continue", conversation=said, turns=self.config.turns)
        return asked(self.config, text, Continued, seed=unit // len(self.rows))

    def then(self, _unit: int, _reply: Reply) -> Sequence[Request]:
        """Ask for nothing more."""
        return []

    def made(self, unit: int, reply: Reply, _later: Sequence[Reply]) -> Made:
        """Add the new turns."""
        whole(reply)
        seed = self.rows[unit % len(self.rows)]
        found, mended = read(reply, Continued)
        new = found.turns[: self.config.turns]
        if len(new) < self.config.turns:
            raise RejectedError("too few turns", f"{len(new)} turns, and {self.config.turns} are asked for", reply.text)
        if any(turn.user.startswith(("User:", "Assistant:")) or turn.assistant.startswith("User:") for turn in new):
            raise RejectedError("speaker in text", "a turn begins with the speaker's name", reply.text)
        turns = [turn.model_copy(update={"weight": 0.0}) for turn in seed.messages]
        for turn in new:
            turns += [Message(role="user", content=turn.user), Message(role="assistant", content=turn.assistant)]
            sound(turns[-2:])
        tags = seeds.tags(self.config, self.generator, seed, keep=True)
        row = Conversation(messages=tuple(turns), tags=tags, declared=seed.declared)
        users = tuple(turn.user for turn in new)
        return Made(row, "\n".join([seeds.request(seed), *users]), mended, users)

    def guess(self, _unit: int) -> Sequence[Request]:
        """Guess nothing: one request is all."""
        return []
