"""The verifier ``regex``: what a regular expression finds in the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import field_validator

from honed.evaluate.scorers.normal import normalised
from honed.evaluate.scorers.params import Params, Text, Texts, read
from honed.records import Message, Score


class Regex(Params):
    """``pattern`` is searched for, or must be all of the answer (``whole``); ``answers``: what its last find must be.

    With a group the find is the first group's text. Python's syntax; ``(?i)`` at the start for any case.
    """

    pattern: Text
    whole: bool = False
    answers: Texts = ()

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return value


def verify(params: Mapping[str, Any], prompt: Sequence[Message], answer: str) -> Score:  # noqa: ARG001
    """Judge ``answer`` by what is found in it. Never raises on any answer; wrong parameters raise ``DataError``."""
    asked = read(Regex, params, "regex")
    rule = re.compile(asked.pattern)
    found = [hit] if asked.whole and (hit := rule.fullmatch(answer.strip())) else []
    found = found if asked.whole else list(rule.finditer(answer))
    if not found:
        return Score(passed=False, why=f"The answer {'is not' if asked.whole else 'does not hold'} {asked.pattern!r}.")
    last = found[-1]
    text = (last.group(1) if rule.groups else last.group()) or ""
    if asked.answers and normalised(text) not in map(normalised, asked.answers):
        return Score(passed=False, why=f"It finds {text!r}, not {' or '.join(map(repr, asked.answers))}.")
    return Score(passed=True, why=f"It finds {text!r}.")
