"""Which answers say nothing."""

from __future__ import annotations

from collections import Counter

import pytest

from honed.builtin.load import load
from honed.evaluate import scoring
from honed.evaluate.vacuous import vacuous
from honed.records import Message

PROMPT = (
    Message(role="user", content="Write about the sea in lower case, and say where the tide comes from at night."),
)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("ok", "constant"),
        ("I DON'T KNOW", "constant"),
        ("blue sea", "2 words"),
        ("", "0 words"),
        (PROMPT[0].content.upper(), "the prompt's"),
        ("the sea is so blue " * 20, "repeats itself"),
    ],
)
def test_an_answer_that_says_nothing_is_told_why(answer: str, why: str) -> None:
    assert why in vacuous(PROMPT, answer, "", scoring.CONSTANTS)


def test_an_answer_that_says_something_is_not_vacuous() -> None:
    answer = "the sea is pulled by the moon, whose gravity raises two bulges of water as the earth turns below them."
    assert vacuous(PROMPT, answer, "", scoring.CONSTANTS) == ""


def test_a_short_answer_is_not_vacuous_where_the_ideal_is_as_short() -> None:
    assert vacuous(PROMPT, "billing", "returns", scoring.CONSTANTS) == ""
    assert vacuous(PROMPT, "ok", "returns", scoring.CONSTANTS) == "It is one of the constant answers."


def test_every_embedded_ideal_passes_and_no_constant_answer_does() -> None:
    for row in load("heldout"):
        assert vacuous(row.prompt, row.answer, row.answer, scoring.CONSTANTS) == ""
        assert all(vacuous(row.prompt, text, row.answer, scoring.CONSTANTS) for text in scoring.CONSTANTS)


def test_most_echoes_of_the_embedded_prompts_are_vacuous() -> None:
    rows = load("heldout")
    found = Counter(bool(vacuous(row.prompt, scoring.echoed(row), row.answer, scoring.CONSTANTS)) for row in rows)
    assert found[True] > 0.9 * len(rows)
