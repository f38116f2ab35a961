"""Which of a harness's metrics passes rows, and its floors, from values alone."""

from __future__ import annotations

import numpy as np
import pytest

from honed.errors import DataError
from honed.evaluate.harness.ran import Metrics, TaskFloors, together


def metrics(**values: list[object]) -> Metrics:
    made = Metrics("task")
    for name, column in values.items():
        for place, value in enumerate(column):
            made.add(f"task/{place}", name, value)
    return made


def test_the_first_metric_from_0_to_1_in_every_row_passes_them() -> None:
    made = metrics(bleu=[("a", "b"), ("c", "d")], perplexity=[-3.5, -2.0], acc=[True, np.float64(0.0)], acc_norm=[1, 1])
    assert made.passing(None) == "acc"
    assert made.values["acc"] == {"task/0": 1.0, "task/1": 0.0}
    assert not made.graded("acc")


def test_another_metric_may_be_named_with_or_without_its_filter() -> None:
    made = metrics(
        **{"acc,none": [1, 0], "exact_match,strict": [0, 1], "exact_match,loose": [1, 1], "f1,none": [0.5, 1]}
    )
    assert made.passing("exact_match") == "exact_match,strict"
    assert made.passing("exact_match,loose") == "exact_match,loose"
    assert made.graded("f1,none")


def test_a_metric_that_is_not_there_or_judges_no_row_is_named_beside_those_that_do() -> None:
    made = metrics(acc=[1, 0], perplexity=[-3.0, -1.0])
    for wanted in ("acc_norm", "perplexity"):
        with pytest.raises(DataError, match=f"no metric '{wanted}'") as caught:
            made.passing(wanted)
        assert caught.value.hint == "It has: acc."


def test_a_task_without_a_verdict_on_rows_has_no_passing_metric() -> None:
    assert metrics(word_perplexity=[(-3.0, 4), (-2.0, 3)]).passing(None) is None
    assert metrics(acc=[1, float("nan")]).passing(None) is None


def test_floors_of_tasks_are_each_of_the_constant_that_is_its_best() -> None:
    one = TaskFloors({"a": {"x": True, "y": False}, "b": {"x": True, "y": True}}, {"x": False, "y": False})
    other = TaskFloors({"a": {"z": True}, "b": {"z": False}}, {"z": True})
    assert one.of("y") == {"constant": True, "echo": False}
    found = together({"one": one, "other": other})
    assert found is not None
    assert (found.constant.passed, found.echo.passed, found.constant.n) == (3, 1, 3)
    assert found.constants["one: a"] == 0.5 and found.constant_answer == "each task's best constant"
    alone = together({"one": one})
    assert alone is not None and alone.constant_answer == "b" and alone.constants == {"a": 0.5, "b": 1.0}
    assert together({}) is None
