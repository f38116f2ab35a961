"""Choosing rows, verdicts, floors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from honed.builtin.load import load
from honed.errors import ConfigError
from honed.evaluate import scoring
from honed.records import Check, Conversation, Message, Score

ROWS = load("heldout")[:70]


def row(prompt: str, answer: str, verifier: str | None = None) -> Conversation:
    return Conversation(
        messages=(Message(role="user", content=prompt), Message(role="assistant", content=answer)),
        check=Check(verifier=verifier) if verifier else None,
    )


def test_the_same_rows_are_chosen_whatever_their_order_and_kept_in_it() -> None:
    chosen, _ = scoring.choose(ROWS, 20, seed=0)
    turned, _ = scoring.choose(reversed(ROWS), 20, seed=0)
    assert chosen == turned[::-1]
    assert [ROWS.index(one) for one in chosen] == sorted(ROWS.index(one) for one in chosen)
    assert {one.id for one in chosen} < {one.id for one in scoring.choose(ROWS, 40, seed=0)[0]}


def test_another_seed_chooses_other_rows() -> None:
    assert scoring.choose(ROWS, 20, seed=0) != scoring.choose(ROWS, 20, seed=1)


def test_a_repeated_row_counts_once_and_is_counted() -> None:
    assert scoring.choose([*ROWS, ROWS[3]], None, seed=0) == (ROWS, 1)


def test_an_unknown_verifier_is_an_error_that_names_the_row_and_the_nearest() -> None:
    bad = row("a", "b", "rout")
    with pytest.raises(ConfigError) as caught:
        scoring.verifiers([*ROWS, bad])
    assert bad.id in caught.value.message
    assert "'rout'" in caught.value.message
    assert "'route'" in caught.value.hint


@pytest.mark.parametrize("answer", ["", " ", "\n\t", "\u2003"])
def test_an_empty_answer_fails_even_where_the_verifier_would_pass_it(answer: str) -> None:
    lenient = {"any": lambda params, prompt, text: Score(passed=True, why="fine")}
    assert scoring.judge(row("a", "b", "any"), answer, lenient) == Score(passed=False, why="The answer is empty.")


def test_an_empty_answer_fails_every_family() -> None:
    known = scoring.verifiers(ROWS)
    assert len(known) == 7
    assert not any(verdict.passed for one in ROWS if (verdict := scoring.judge(one, "", known)))


def test_a_row_without_a_verifier_has_no_verdict() -> None:
    assert scoring.judge(row("a", "b"), "c", {}) is None


def test_a_verifier_that_breaks_is_named_with_its_row() -> None:
    def broken(params: Mapping[str, Any], prompt: Sequence[Message], answer: str) -> Score:
        raise KeyError("queue")

    bad = row("a", "b", "mine")
    with pytest.raises(ConfigError, match=f"row {bad.id}: the verifier 'mine' failed: KeyError: 'queue'"):
        scoring.judge(bad, "c", {"mine": broken})


def test_the_ideal_answers_pass_and_the_floors_are_far_below() -> None:
    known = scoring.verifiers(ROWS)
    assert all(verdict.passed for one in ROWS if (verdict := scoring.judge(one, one.answer, known)))
    floors, verdicts = scoring.floors(ROWS, known)
    assert floors is not None
    assert floors.constant.rate < 0.1
    assert floors.echo.rate < 0.1
    assert floors.constant.passed == sum(verdict["constant"] for verdict in verdicts.values())
    assert floors.echo.passed == sum(verdict["echo"] for verdict in verdicts.values())


def test_the_constant_floor_is_the_best_of_the_stated_answers_and_the_most_frequent_ideal_one() -> None:
    def is_ideal(params: Mapping[str, Any], prompt: Sequence[Message], answer: str) -> Score:
        return Score(passed=answer == "blue", why="")

    rows = [row("1", "blue", "mine"), row("2", "blue", "mine"), row("3", "red", "mine")]
    floors, _ = scoring.floors(rows, {"mine": is_ideal})
    assert floors is not None
    assert (floors.constant_answer, floors.constant.rate) == ("blue", 1.0)
    assert set(floors.constants) == {*scoring.CONSTANTS, "blue"}


def test_rows_without_verifiers_have_no_floors() -> None:
    assert scoring.floors([row("a", "b")], {}) == (None, {})


def test_the_echo_is_the_last_user_message() -> None:
    turns = tuple(
        Message(role=role, content=text)
        for role, text in (("system", "s"), ("user", "one"), ("assistant", "a"), ("user", "two"), ("assistant", "b"))
    )
    assert scoring.echoed(Conversation(messages=turns)) == "two"
