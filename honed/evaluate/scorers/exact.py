"""The verifier ``exact``: the answer is one of those expected, but for case, punctuation and articles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from honed.evaluate.scorers.normal import normalised, one_of
from honed.evaluate.scorers.params import Params, Texts, read
from honed.records import Message, Score


class Exact(Params):
    """What is expected: one of ``answers``, alone or (``within``) in a sentence that has none of ``lacks``."""

    answers: Texts = Field(min_length=1)
    within: bool = False
    lacks: Texts = ()


def verify(params: Mapping[str, Any], prompt: Sequence[Message], answer: str) -> Score:  # noqa: ARG001
    """Judge ``answer`` after ``normalised``. Never raises on any answer; wrong parameters raise ``DataError``."""
    asked = read(Exact, params, "exact")
    if wrong := one_of(asked.lacks, answer):
        return Score(passed=False, why=f"The answer holds {wrong!r}.")
    if asked.within:
        found = one_of(asked.answers, answer)
    else:
        found = next((text for text in asked.answers if normalised(text) == normalised(answer)), None)
    if found:
        return Score(passed=True, why=f"The answer {'holds' if asked.within else 'is'} {found!r}.")
    expected = " or ".join(map(repr, asked.answers))
    return Score(passed=False, why=f"The answer {'does not hold' if asked.within else 'is not'} {expected}.")
