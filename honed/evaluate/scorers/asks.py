"""The verifier ``asks``: an answer asks back where a needed detail is missing, and answers where it is there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from honed.evaluate.scorers.normal import one_of
from honed.evaluate.scorers.params import Params, Texts, read
from honed.records import Message, Score

_ENDS = re.compile(r"(?<=[.!?\n])")


class Asks(Params):
    """Whether it ``should`` ask, the words that a question ``about`` the detail holds, and those of a real answer."""

    should: bool
    about: Texts = Field(min_length=1)
    mentions: Texts = ()


def verify(params: Mapping[str, Any], prompt: Sequence[Message], answer: str) -> Score:  # noqa: ARG001
    """Judge the questions of ``answer``: one that holds none of ``about``, such as an offer of help, is no question.

    Never raises on any answer; wrong parameters raise ``DataError``.
    """
    asked = read(Asks, params, "asks")
    questions = [text.strip() for text in _ENDS.split(answer) if text.endswith("?")]
    found = next((question for question in questions if one_of(asked.about, question)), "")
    if asked.should:
        why = f"It asks: {found!r}." if found else f"It does not ask about {' or '.join(asked.about)}."
        return Score(passed=bool(found), why=why)
    if found:
        return Score(passed=False, why=f"It asks although the detail was given: {found!r}.")
    if asked.mentions and not one_of(asked.mentions, answer):
        return Score(passed=False, why=f"It holds none of {', '.join(map(repr, asked.mentions))}.")
    return Score(passed=True, why="It answers with the detail.")
