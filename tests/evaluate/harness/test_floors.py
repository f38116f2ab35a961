"""The floors of lm-eval tasks, by a stand-in at the task's interface; and rows, whatever harness they are of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from honed.evaluate.harness import lm_eval_floors, rows
from honed.evaluate.harness.rows import Judged
from honed.models.engine import Completion
from honed.records import Message


class Choosing:
    """A multiple-choice task as lm-eval's are: the likeliest choice is compared with the row's own."""

    OUTPUT_TYPE = "multiple_choice"

    def process_results(self, doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, float]:
        likely = [one for one, _ in results]
        return {"acc": float(likely.index(max(likely)) == doc["gold"])}


class Lower:
    name = "lower"

    def apply(self, instances: list[Any]) -> None:
        for one in instances:
            one.filtered_resps[self.name] = one.resps[0].lower()


class Writing:
    """A task of generated texts with a filter, as lm-eval's are."""

    OUTPUT_TYPE = "generate_until"
    _filters = (SimpleNamespace(name="other", apply=lambda _: pytest.fail("not asked for")), Lower())

    def process_results(self, doc: dict[str, Any], results: list[str]) -> dict[str, float]:
        return {"exact_match": float(results[0] == doc["answer"])}


def test_always_taking_one_choice_passes_as_many_rows_as_it_is_right_in() -> None:
    golds = {"t/0": (1, 4), "t/1": (1, 4), "t/2": (3, 4), "t/3": (0, 2)}
    samples = {
        row: {"doc": {"gold": gold}, "filtered_resps": [None] * wide, "target": gold}
        for row, (gold, wide) in golds.items()
    }
    found = lm_eval_floors.floors(Choosing(), samples, "acc,none", {})
    assert found.best == "choice 2"
    assert {text: sum(of.values()) for text, of in found.tried.items()} == {
        "choice 1": 1,
        "choice 2": 2,
        "choice 3": 0,
        "choice 4": 1,
    }
    assert not any(found.echo.values())


def test_a_constant_text_and_the_prompt_are_judged_by_the_task_s_own_filter() -> None:
    answers = {"t/0": "yes.", "t/1": "blue", "t/2": "blue"}
    samples = {row: {"doc": {"answer": text}, "target": text.title()} for row, text in answers.items()}
    prompts = {row: (Message(role="user", content="BLUE" if row == "t/2" else "What?"),) for row in answers}
    found = lm_eval_floors.floors(Writing(), samples, "exact_match,lower", prompts)
    assert found.best == "Blue"
    assert (sum(found.tried["Yes."].values()), sum(found.tried["Blue"].values())) == (1, 2)
    assert found.echo == {"t/0": False, "t/1": False, "t/2": True}


def test_whoever_says_another_text_than_the_only_one_is_wrong() -> None:
    task = SimpleNamespace(OUTPUT_TYPE="loglikelihood")
    found = lm_eval_floors.floors(task, {"t/0": {"filtered_resps": [(-1.0, True)]}}, "acc,none", {})
    assert found.of("t/0") == {"constant": False, "echo": False}


PROMPT = (Message(role="user", content="Which colour has the sky?"),)


def judged(value: float | None, *, graded: bool = False) -> Judged:
    return Judged("lm-eval", "task", "acc,none", value, graded, {"constant": False, "echo": False})


def test_an_empty_answer_fails_whatever_the_task_says_of_it() -> None:
    one = rows.generated(
        "t/0", PROMPT, "blue", Completion(text=" ", tokens=1, finish="stop"), judged(1.0, graded=True), ""
    )
    assert (one.passed, one.value, one.why) == (False, 0.0, "The answer is empty.")


def test_a_graded_row_passes_with_the_whole_grade_only() -> None:
    made = Completion(text="It is blue, I believe, on clear days.", tokens=9, finish="length")
    half = rows.generated("t/0", PROMPT, "blue", made, judged(0.5, graded=True), "half")
    assert (half.passed, half.value, half.tokens, half.finish) == (False, 0.5, 9, "length")
    assert half.check is not None and half.check.params == {"task": "task", "metric": "acc,none"}
    assert rows.generated("t/0", PROMPT, "blue", made, judged(1.0), "").value is None


def test_a_row_keeps_the_reasoning_beside_its_answer() -> None:
    made = Completion(text="blue", tokens=9, finish="stop", reasoning="The sky is.")
    one = rows.generated("t/0", PROMPT, "blue", made, judged(1.0), "")
    assert (one.answer, one.reasoning, one.passed) == ("blue", "The sky is.", True)


def test_a_row_without_a_verdict_is_unverified() -> None:
    one = rows.chosen("t/0", PROMPT, "", "", judged(None), "")
    assert one.passed is None and one.check is None


def test_a_chosen_text_is_never_vacuous_and_a_written_one_may_be() -> None:
    long = "on a clear day it is blue"
    assert rows.chosen("t/0", PROMPT, long, "ok", judged(0.0), "").vacuous == ""
    made = Completion(text="ok", tokens=1, finish="stop")
    assert rows.generated("t/0", PROMPT, long, made, judged(0.0), "").vacuous != ""


def test_an_error_is_told_by_its_kind_and_first_line() -> None:
    assert rows.first_line(ValueError("one\ntwo")) == "ValueError: one"
    assert rows.first_line(KeyError()) == "KeyError"
