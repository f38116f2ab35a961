"""One type of instruction that a program can verify: its parameters, its rule, its wording, and how it is drawn."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from honed.errors import DataError
from honed.records import Message, Score


class Params(BaseModel):
    """What an instruction asks for. An unknown or missing one is an error, never a value made up on the spot."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NoParams(Params):
    """The instruction has nothing to set."""


P = TypeVar("P", bound=Params)


@dataclass(frozen=True)
class Instruction(Generic[P]):
    """One type of instruction.

    ``rule(params, answer)`` judges an answer that isn't blank and never raises; ``wording(params)`` asks for it in
    English; ``sample(rng, request)`` draws parameters for training data, where ``request`` is the text that the
    constraint is to be added to.
    """

    id: str
    params: type[P]
    rule: Callable[[P, str], Score]
    wording: Callable[[P], str]
    sample: Callable[[Random, str], P]

    def read(self, arguments: Mapping[str, Any]) -> P:
        """Return the arguments as parameters; one that is None counts as not given, as in the benchmarks' files.

        Raises ``DataError`` naming the instruction and every argument that is unknown, missing or wrong.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        try:
            return self.params.model_validate(given)
        except ValidationError as error:
            faults = "; ".join(_fault(item["loc"], item["type"], item["msg"]) for item in error.errors())
            known = ", ".join(self.params.model_fields) or "none"
            raise DataError(f"the instruction {self.id!r}: {faults}", f"Its arguments: {known}.") from error

    def verify(self, params: P | Mapping[str, Any], prompt: Sequence[Message], answer: str) -> Score:  # noqa: ARG002
        """Judge an answer as it is (strict). A blank one fails, whatever is asked; no answer makes this raise."""
        asked = self.read(params) if isinstance(params, Mapping) else params
        if not answer.strip():
            return Score(passed=False, why="The answer is empty.")
        return self.rule(asked, answer)

    def verify_loosely(self, params: P | Mapping[str, Any], prompt: Sequence[Message], answer: str) -> Score:
        """Judge an answer and its seven lighter variants: one that passes is enough, otherwise ``why`` is the strict.

        J. Zhou and others, "Instruction-Following Evaluation for Large Language Models" (2023), section 2.3.
        """
        asked = self.read(params) if isinstance(params, Mapping) else params
        return loosely(lambda text: self.verify(asked, prompt, text), answer)

    def describe(self, params: P | Mapping[str, Any]) -> str:
        """Return the constraint as a sentence to add to a request."""
        return self.wording(self.read(params) if isinstance(params, Mapping) else params)

    def draw(self, rng: Random, request: str = "") -> P:
        """Return parameters for training data; the same ``rng`` state and request give the same ones."""
        return self.sample(rng, request)


def variants(answer: str) -> list[str]:
    """Return the answer, then without asterisks, its first line, its last line, both, and each of these without them.

    Variants that are equal are given once, so that a one-line answer isn't judged eight times.
    """
    lines = answer.split("\n")
    cut = [answer, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return list(dict.fromkeys([answer, answer.replace("*", ""), *cut, *(text.replace("*", "") for text in cut)]))


def loosely(judge: Callable[[str], Score], answer: str, strict: Score | None = None) -> Score:
    """Return the verdict on the first variant that passes, or that on the answer itself (``strict``, if known)."""
    first = strict or judge(answer)
    if first.passed:
        return first
    return next((score for text in variants(answer)[1:] if (score := judge(text)).passed), first)


def said(passed: bool, fact: str) -> Score:
    """Return a verdict and what was found, as a sentence."""
    return Score(passed=bool(passed), why=f"{fact[:1].upper()}{fact[1:]}.")


def plain(sample: Callable[[Random], P]) -> Callable[[Random, str], P]:
    """Return a sampler that needs no request."""
    return lambda rng, _request: sample(rng)


def fixed(id_: str, rule: Callable[[str], Score], wording: str) -> Instruction[NoParams]:
    """Return an instruction without parameters."""
    return Instruction(
        id_, NoParams, lambda _params, answer: rule(answer), lambda _params: wording, lambda _rng, _request: NoParams()
    )


def find(table: Mapping[str, Instruction[Any]], id_: object, family: str) -> Instruction[Any]:
    """Return the instruction ``id_``; an unknown one raises ``DataError`` naming the nearest. None is ever skipped."""
    if isinstance(id_, str) and id_ in table:
        return table[id_]
    near = difflib.get_close_matches(str(id_), table, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(table)}."
    raise DataError(f"there is no {family} instruction {id_!r}", hint)


def _fault(place: tuple[int | str, ...], kind: str, message: str) -> str:
    name = ".".join(map(str, place)) or "the arguments"
    if kind == "extra_forbidden":
        return f"has no argument {name!r}"
    if kind == "missing":
        return f"lacks the argument {name!r}"
    return f"{name}: {message[:1].lower()}{message[1:]}"
