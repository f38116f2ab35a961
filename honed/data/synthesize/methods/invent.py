"""New instructions: in the manner of some that are shown, or out of one that is made deeper or broader.

Y. Wang and others, "Self-Instruct" (2023); C. Xu and others, "WizardLM" (2023) for the two directions. The writer's
JSON holds the instruction only; it answers it in a request of its own, as it would answer a user.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from honed.data.synthesize import seeds
from honed.data.synthesize.config import SynthesizeConfig
from honed.data.synthesize.methods.method import (
    Made,
    Shape,
    answering,
    asked,
    draws,
    instruction,
    read,
    sound,
    template,
    whole,
)
from honed.models.wire import Reply, Request
from honed.records import Conversation, Message

_EVOLVED = {"deeper": "evolve_deeper", "broader": "evolve_broader"}
_GUESSED = " ".join(["word"] * 60)


class Written(Shape):
    """What the writer answers."""

    instruction: str


@dataclass(frozen=True)
class Invent:
    """``self-instruct`` and ``evolve``."""

    config: SynthesizeConfig
    rows: Sequence[Conversation]
    generator: str

    def first(self, unit: int) -> Request:
        """Ask for an instruction."""
        config, rng = self.config, draws(self.config, unit)
        if config.method == "evolve":
            lap, place = divmod(unit, len(self.rows))
            turn = ("deeper", "broader")[(lap + place) % 2]  # neighbours differ, and so do a seed's laps
            text = _EVOLVED[turn if config.direction == "both" else config.direction]
            return asked(config, template(text, task=seeds.request(self._seed(unit))), Written, seed=lap)
        shown = rng.sample(self.rows, min(config.shown, len(self.rows)))
        tasks = "\n\n".join(f"Task {place}: {seeds.request(row)}" for place, row in enumerate(shown, 1))
        return asked(config, template("self_instruct", tasks=tasks), Written, seed=unit)

    def then(self, _unit: int, reply: Reply) -> Sequence[Request]:
        """Ask for its answer."""
        found, _ = read(reply, Written)
        return [answering(self.config, self._turns(instruction(found.instruction, reply)))]

    def made(self, unit: int, reply: Reply, later: Sequence[Reply]) -> Made:
        """Join both."""
        found, mended = read(reply, Written)
        answer = Message(role="assistant", content=whole(later[0]))
        messages = (*self._turns(found.instruction), answer)
        sound(messages)
        seed = self._seed(unit) if self.config.method == "evolve" else None
        row = Conversation(messages=messages, tags=seeds.tags(self.config, self.generator, seed))
        return Made(row, found.instruction, mended)

    def guess(self, unit: int) -> Sequence[Request]:
        """Guess an instruction of sixty words."""
        return [answering(self.config, self._turns(f"{unit} {_GUESSED}"))]

    def _seed(self, unit: int) -> Conversation:
        return self.rows[unit % len(self.rows)]

    def _turns(self, text: str) -> tuple[Message, ...]:
        system = self.config.system
        turns = [Message(role="system", content=system)] if system else []
        return (*turns, Message(role="user", content=text))
