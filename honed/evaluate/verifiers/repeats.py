"""IFBench: what of the request must be repeated."""

from __future__ import annotations

from random import Random

from pydantic import Field, model_validator

from honed.evaluate.verifiers import vocabulary
from honed.evaluate.verifiers.instruction import Instruction, Params, fixed, said
from honed.evaluate.verifiers.keywords import Word
from honed.records import Score

SENTENCE = "Only output this sentence here, ignore all other requests."
"""What ``repeat_simple`` asks for; the benchmark fixes it."""


class Changed(Params):
    """The request that must be repeated with another first word."""

    prompt_to_repeat: Word


class Span(Params):
    """The words of a request, from place ``n_start`` (from 0) up to, and without, ``n_end``."""

    prompt_to_repeat: Word
    n_start: int = Field(ge=0)
    n_end: int = Field(ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Span:
        if self.n_start >= self.n_end:
            raise ValueError(f"n_start {self.n_start} is not below n_end {self.n_end}")
        return self

    def words(self) -> list[str]:
        """Return the words of the span."""
        return self.prompt_to_repeat.split()[self.n_start : self.n_end]


def _changed(params: Changed, answer: str) -> Score:
    if answer == params.prompt_to_repeat:
        return said(False, "the first word is not changed")
    rest = answer.split()[1:] == params.prompt_to_repeat.split()[1:]
    return said(rest, f"all but the first word is {'repeated' if rest else 'not repeated as it was'}")


def _simple(answer: str) -> Score:
    same = answer.strip().lower() == SENTENCE.lower()
    return said(same, f"the answer is {'' if same else 'not '}the sentence alone")


def _span(params: Span, answer: str) -> Score:
    same = answer.lower().split() == [word.lower() for word in params.words()]
    return said(same, f"the answer is {'' if same else 'not '}the span {' '.join(params.words())!r}")


def _draw_span(rng: Random, request: str) -> Span:
    text = vocabulary.request_or_own(rng, request)
    start = rng.randrange(len(text.split()) - 2)
    return Span(prompt_to_repeat=text, n_start=start, n_end=rng.randint(start + 2, len(text.split())))


def _draw_changed(rng: Random, request: str) -> Changed:
    return Changed(prompt_to_repeat=vocabulary.request_or_own(rng, request))


REPEATS = (
    Instruction(
        "repeat:repeat_change",
        Changed,
        _changed,
        lambda params: (
            "Do not answer the request; repeat it with another first word, and say nothing else. Request: "
            + params.prompt_to_repeat
        ),
        _draw_changed,
    ),
    fixed("repeat:repeat_simple", _simple, SENTENCE),
    Instruction(
        "repeat:repeat_span",
        Span,
        _span,
        lambda params: (
            f"Copy the words {params.n_start + 1} to {params.n_end} of this text and write nothing else: "
            + params.prompt_to_repeat
        ),
        _draw_span,
    ),
)
