"""What a family of rows is: one object that writes its rows and verifies their answers.

Draft   the turns and the check parameters of one row, before its system prompt and tags are added
Task    a named family: ``row`` writes a Conversation, ``verify`` judges an answer to it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from honed.builtin.desk import AUDIENCES, Audience, Benefit, system
from honed.builtin.pools.pool import Pool
from honed.errors import DataError
from honed.records import Check, Conversation, Message, Score


@dataclass(frozen=True)
class Draft:
    """The turns of one row (user first, alternating, ending in the ideal answer) and what its verifier must know."""

    turns: tuple[str, ...]
    params: Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """A family of rows. The rows and the verdicts come from one object, so they can't drift apart.

    ``rule`` is the standing instruction in its system prompt (one, or one a reader); ``write`` drafts a row from a
    pool of words for a reader, in one of ``variants`` numbered kinds; ``faults`` says what an answer lacks (nothing:
    it passes); ``needs`` names the parameters without which it can't judge. ``weight`` is the loss weight of its
    answers: a decision said in two words would otherwise drown among answers of fifty.
    """

    name: str
    benefit: Benefit
    variants: int
    needs: frozenset[str]
    rule: str | Mapping[Audience, str]
    write: Callable[[Pool, Random, Audience, int], Draft]
    faults: Callable[[Mapping[str, Any], str], list[str]]
    audiences: tuple[Audience, ...] = AUDIENCES
    weight: float = 1.0

    def row(self, pool: Pool, rng: Random, audience: Audience, variant: int) -> Conversation:
        """Return one row of this family, drawn from ``pool`` with ``rng``."""
        draft = self.write(pool, rng, audience, variant)
        rule = self.rule if isinstance(self.rule, str) else self.rule[audience]
        turns = [Message(role="system", content=system(audience, rule))]
        for index, text in enumerate(draft.turns):
            if index % 2:
                turns.append(Message(role="assistant", content=text, weight=self.weight))
            else:
                turns.append(Message(role="user", content=text))
        tags = {"task": self.name, "benefit": self.benefit, "audience": audience, "source": "builtin"}
        return Conversation(messages=tuple(turns), tags=tags, check=Check(verifier=self.name, params=draft.params))

    def verify(self, params: Mapping[str, Any], prompt: Sequence[Message], answer: str) -> Score:  # noqa: ARG002
        """Judge ``answer``; ``why`` names everything that it lacks.

        Deterministic, and never raises on any answer. A row whose parameters are incomplete raises ``DataError``.
        """
        missing = sorted(self.needs - params.keys())
        if missing:
            raise DataError(
                f"the verifier {self.name!r} lacks the parameter {missing[0]!r}",
                f"Put it into the row's check: it needs {', '.join(sorted(self.needs))}.",
            )
        faults = self.faults(params, answer)
        return Score(passed=not faults, why=f"The answer {' and '.join(faults) or 'has everything asked for'}.")
