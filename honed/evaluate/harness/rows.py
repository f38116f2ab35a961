"""One row of a harness's task as honed keeps an answer, whichever harness it is of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from honed.evaluate import scoring
from honed.evaluate.harness.asking import Prompt
from honed.evaluate.outcome import Answer
from honed.evaluate.vacuous import vacuous
from honed.models.engine import Completion
from honed.records import Check


class Judged(NamedTuple):
    """How a row was judged: by which harness, task and metric, its value, whether that is a grade, and the floors."""

    harness: str
    task: str
    metric: str
    value: float | None
    graded: bool
    floors: Mapping[str, bool]


def generated(row: str, prompt: Prompt, ideal: str, made: Completion, judged: Judged, why: str) -> Answer:
    """Return the row of a text that the model wrote. An empty one fails, whatever the task says of it."""
    empty = not made.text.strip()
    found = chosen(row, prompt, ideal, made.text, judged, "The answer is empty." if empty and not why else why)
    return found.model_copy(
        update={
            "tokens": made.tokens,
            "finish": made.finish,
            "reasoning": made.reasoning,
            "passed": False if empty and found.passed is not None else found.passed,
            "value": 0.0 if empty and found.value is not None else found.value,
            "vacuous": vacuous(prompt, made.text, ideal, scoring.CONSTANTS),
        }
    )


def chosen(row: str, prompt: Prompt, ideal: str, answer: str, judged: Judged, why: str) -> Answer:
    """Return the row of a text that the model found likeliest: it wrote nothing, so nothing can be vacuous."""
    value = judged.value
    params = {"task": judged.task, "metric": judged.metric}
    return Answer(
        row=row,
        prompt=prompt,
        ideal=ideal,
        tags={"task": judged.task},
        answer=answer,
        tokens=0,
        finish="stop",
        passed=None if value is None else value >= 1,
        why=why,
        floors=judged.floors,
        value=value if judged.graded else None,
        check=None if value is None else Check(verifier=judged.harness, params=params),
    )


def first_line(error: BaseException) -> str:
    """Return the kind of an error and the first line that it says."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
