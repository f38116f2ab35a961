"""A constraint that a program can verify, added to an instruction; the first answer that follows it stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from honed.data.synthesize import seeds
from honed.data.synthesize.config import SynthesizeConfig
from honed.data.synthesize.methods.method import Made, RejectedError, answering, draws, sound, verified, whole
from honed.models.wire import Reply, Request
from honed.records import Check, Conversation, Message
from honed.registry import get

ALONE = ("custom", "repeat")
"""Kinds of instructions that are requests of their own: they can't be added to another."""
_DRAWS = 200


class _Constraint(NamedTuple):
    check: Check
    words: str


@dataclass(frozen=True)
class Constrain:
    """``constrain``."""

    config: SynthesizeConfig
    rows: Sequence[Conversation]
    generator: str

    def first(self, unit: int) -> Request:
        """Ask for an answer."""
        return answering(self.config, self._turns(unit))

    def then(self, unit: int, reply: Reply) -> Sequence[Request]:
        """Ask for the others, if the first doesn't follow its constraint."""
        if self._why(unit, reply) is None:
            return []
        return [answering(self.config, self._turns(unit), seed=draw) for draw in range(1, self.config.best_of)]

    def made(self, unit: int, reply: Reply, later: Sequence[Reply]) -> Made:
        """Take the first answer that follows it."""
        for one in (reply, *later):
            if self._why(unit, one) is None:
                messages = (*self._turns(unit), Message(role="assistant", content=one.text.strip()))
                seed = self._seed(unit)
                tags = seeds.tags(self.config, self.generator, seed, keep=True)
                return Made(
                    Conversation(
                        messages=messages, tags=tags, check=self._constraint(unit).check, declared=seed.declared
                    )
                )
        first = self._why(unit, reply)
        assert first is not None
        tried = len(later) + 1
        raise RejectedError(first.rejected.kind, f"none of {tried} answers; the first: {first}", reply.text)

    def guess(self, unit: int) -> Sequence[Request]:
        """Guess that half of the first answers don't follow it."""
        return [answering(self.config, self._turns(unit), seed=draw) for draw in range(1, self.config.best_of, 2)]

    def _why(self, unit: int, reply: Reply) -> RejectedError | None:
        """Return why an answer can't be taken, or None."""
        turns, check = self._turns(unit), self._constraint(unit).check
        try:
            text = whole(reply)
            for judged in (check, self._seed(unit).check):
                verified(judged, turns, text)
            sound([*turns, Message(role="assistant", content=text)])
        except RejectedError as error:
            return error
        return None

    def _seed(self, unit: int) -> Conversation:
        return self.rows[unit % len(self.rows)]

    def _turns(self, unit: int) -> tuple[Message, ...]:
        seed, words = self._seed(unit), self._constraint(unit).words
        return tuple(
            turn.model_copy(update={"content": f"{turn.content.rstrip()}\n\n{words}"}) if turn.role == "user" else turn
            for turn in seed.prompt
        )

    def _constraint(self, unit: int) -> _Constraint:
        """Draw what is asked beside the instruction: the same for the same unit, whenever it is asked for."""
        rng, config = draws(self.config, unit), self.config
        name = rng.choice(config.families)
        family: Any = get("instructions", name)
        count = rng.randint(1, config.constraints)
        for _ in range(_DRAWS):
            params: Mapping[str, Any] = family.draw(rng, seeds.request(self._seed(unit)), count, config.constraint)
            if not any(one["id"].partition(":")[0] in ALONE for one in params["instructions"]):
                break
        return _Constraint(Check(verifier=name, params=params), " ".join(family.describe(params)))
