"""The verifier ``style``: whether an answer suits its reader: school grade, length, sentences, tone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from honed.builtin.reading import Reading, syllables
from honed.builtin.reading import read as reading_of
from honed.builtin.text import words
from honed.evaluate.scorers.normal import one_of
from honed.evaluate.scorers.params import Params, Texts, read
from honed.records import Message, Score

Tone = Literal["friendly", "formal", "impersonal", "technical", "steps"]
TECHNICAL = 0.2

_CONTRACTION = re.compile(r"\b\w+['’](?:s|t|re|ve|ll|d|m)\b", re.IGNORECASE)
_PERSON = re.compile(r"\b(?:i|you|your|we|our|my|me|us)\b", re.IGNORECASE)
_YOU = re.compile(r"\b(?:you|your|let's|we)\b|!", re.IGNORECASE)
_STEPS = re.compile(r"^[ \t]*(?:step[ \t]*)?\d+[.):]|^[ \t]*[-*•]\s", re.IGNORECASE | re.MULTILINE)


def _technical(text: str) -> bool:
    every = words(text)
    return bool(every) and sum(syllables(word) >= 3 for word in every) >= TECHNICAL * len(every)


TONES: Mapping[Tone, tuple[Callable[[str], bool], str]] = {
    "friendly": (lambda text: bool(_YOU.search(text)), "does not speak to the reader (you, we, an exclamation)"),
    "formal": (lambda text: not _CONTRACTION.search(text) and "!" not in text, "has a contraction or an exclamation"),
    "impersonal": (lambda text: not _PERSON.search(text), "says I, you or we"),
    "technical": (_technical, f"has under {100 * TECHNICAL:.0f} % words of three syllables or more"),
    "steps": (lambda text: len(_STEPS.findall(text)) >= 2, "has no list of two steps or more"),
}
"""What each tone asks for, and what is said of an answer without it."""


class Style(Params):
    """What suits: a band of grades, of words, the ``longest`` sentence in words, tones, one word of ``mentions``."""

    grade_at_most: float | None = Field(default=None, allow_inf_nan=False)
    grade_at_least: float | None = Field(default=None, allow_inf_nan=False)
    words_at_most: int | None = Field(default=None, ge=1)
    words_at_least: int | None = Field(default=None, ge=1)
    longest: int | None = Field(default=None, ge=1)
    tones: tuple[Tone, ...] = ()
    mentions: Texts = ()

    @model_validator(mode="after")
    def _asks(self) -> Style:
        if not self.model_fields_set or all(value in (None, ()) for value in self.model_dump().values()):
            raise ValueError("it asks for nothing")
        for low, high, name in (
            (self.grade_at_least, self.grade_at_most, "grade"),
            (self.words_at_least, self.words_at_most, "words"),
        ):
            if low is not None and high is not None and low > high:
                raise ValueError(f"{name}_at_least is above {name}_at_most")
        return self


def verify(params: Mapping[str, Any], prompt: Sequence[Message], answer: str) -> Score:  # noqa: ARG001
    """Judge ``answer``; its value is the share of what was asked for that it has. All of it passes.

    Never raises on any answer; wrong parameters raise ``DataError``.
    """
    asked = read(Style, params, "style")
    checks = [*_measures(asked, reading_of(answer)), *((rule(answer), lacks) for rule, lacks in _tones(asked))]
    if asked.mentions:
        checks.append((one_of(asked.mentions, answer) is not None, f"mentions none of {', '.join(asked.mentions)}"))
    faults = [fault for passed, fault in checks if not passed]
    why = f"The answer {' and '.join(faults) or 'suits its reader'}."
    return Score(passed=not faults, value=1 - len(faults) / len(checks), why=why)


def _tones(asked: Style) -> list[tuple[Callable[[str], bool], str]]:
    return [TONES[tone] for tone in asked.tones]


def _measures(asked: Style, reading: Reading) -> list[tuple[bool, str]]:
    found: list[tuple[bool, str]] = []
    for value, most, least, said in (
        (reading.grade, asked.grade_at_most, asked.grade_at_least, "reads at grade"),
        (reading.words, asked.words_at_most, asked.words_at_least, "in words has"),
        (reading.longest, asked.longest, None, "in the words of a sentence has"),
    ):
        if most is not None:
            found.append((value <= most, f"{said} {value:g}, above {most:g}"))
        if least is not None:
            found.append((value >= least, f"{said} {value:g}, below {least:g}"))
    return found
