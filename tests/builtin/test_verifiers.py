"""The verifiers: ideal answers pass, wrong ones don't, and no text whatever makes them raise."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honed.builtin.generate import TASKS, generate
from honed.builtin.load import load
from honed.errors import DataError
from honed.records import Conversation, Score

BY_NAME = {task.name: task for task in TASKS}
NAMES = sorted(BY_NAME)


def judge(row: Conversation, answer: str) -> Score:
    assert row.check is not None
    return BY_NAME[row.check.verifier].verify(row.check.params, row.prompt, answer)


@cache
def family(name: str, split: str = "heldout") -> list[Conversation]:
    return [row for row in load(split) if row.tags["task"] == name]  # type: ignore[arg-type]


def rate(name: str, answer: Callable[[Conversation], str], split: str = "heldout") -> float:
    rows = family(name, split)
    return sum(judge(row, answer(row)).passed for row in rows) / len(rows)


@pytest.mark.parametrize("split", ["train", "heldout"])
@pytest.mark.parametrize("name", NAMES)
def test_every_ideal_answer_passes(name: str, split: str) -> None:
    for row in family(name, split):
        score = judge(row, row.answer)
        assert score.passed, (row.answer, score.why)
        assert score.why == "The answer has everything asked for."


@pytest.mark.parametrize("seed", [1, 2])
def test_every_ideal_answer_passes_with_other_seeds(seed: int) -> None:
    for row in generate("train", seed):
        assert judge(row, row.answer).passed, row


WRONG: dict[str, Callable[[Conversation], str]] = {
    "empty": lambda row: "",
    "spaces": lambda row: " \n ",
    "ok": lambda row: "ok",
    "yes": lambda row: "Yes.",
    "unknown": lambda row: "I don't know.",
    "question": lambda row: "What do you mean?",
    "echo of the last message": lambda row: row.prompt[-1].content,
    "echo of the first message": lambda row: row.prompt[1].content,
    "echo of the last but one message": lambda row: row.prompt[-2].content,
    "echo of the system prompt": lambda row: row.prompt[0].content,
    "echo of all": lambda row: "\n".join(message.content for message in row.prompt),
    "answer twice": lambda row: f"{row.answer}\n{row.answer}",
    "half an answer": lambda row: row.answer[: len(row.answer) // 2],
    "answer and chatter": lambda row: (
        f"Sure, I can help you with that! Here is what you asked for.\n{row.answer}\nIs there anything else I can do "
        "for you today? I am always happy to help you with all of your questions."
    ),
}


@pytest.mark.parametrize("wrong", sorted(WRONG))
@pytest.mark.parametrize("name", NAMES)
def test_no_wrong_answer_passes(name: str, wrong: str) -> None:
    assert rate(name, WRONG[wrong]) == 0
    assert rate(name, WRONG[wrong], "train") == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_answers_of_other_rows_rarely_pass(name: str) -> None:
    rows = family(name)
    passes = [judge(row, other.answer).passed for row in rows for other in rows if other is not row]
    assert sum(passes) / len(passes) < 0.2


@pytest.mark.parametrize("name", NAMES)
def test_no_constant_answer_does_well(name: str) -> None:
    constants = sorted({row.answer for row in family(name, "train")})[::3]
    assert max(rate(name, lambda row, text=text: text) for text in constants) < 0.25  # type: ignore[misc]


def test_no_answer_of_another_family_passes(heldout: list[Conversation]) -> None:
    by_task = defaultdict(list)
    for row in heldout[:140]:
        by_task[row.tags["task"]].append(row)
    for name, rows in by_task.items():
        others = [row.answer for task, theirs in by_task.items() if task not in {name} for row in theirs]
        # Constrain and amend share a form, so that an answer of one may happen to fit the other.
        passes = sum(judge(row, answer).passed for row in rows for answer in others)
        assert passes <= 0.01 * len(rows) * len(others), name


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(
    text=st.text()
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=6,
    ).map(json.dumps)
)
def test_no_text_raises(name: str, text: str) -> None:
    for row in family(name)[:12]:
        first = judge(row, text)
        assert first == judge(row, text)
        assert first.why.startswith("The answer ")
        assert first.why.endswith(".")


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 10_000, '{"name": ' + "1" * 10_000 + "}", "\ud800", "\x00?"])
@pytest.mark.parametrize("name", NAMES)
def test_hostile_texts_fail_and_do_not_raise(name: str, text: str) -> None:
    assert not judge(family(name)[0], text).passed


@pytest.mark.parametrize("name", NAMES)
def test_incomplete_parameters_are_the_users_fault(name: str) -> None:
    with pytest.raises(DataError, match="lacks the parameter"):
        BY_NAME[name].verify({}, (), "ok")
