"""The verifier ``every``: several checks of one answer, all of which it must pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from honed import registry
from honed.evaluate.scorers.params import Params, read
from honed.records import Check, Message, Score


class Every(Params):
    """The ``checks``, each as a row's own: a verifier and its parameters."""

    checks: tuple[Check, ...] = Field(min_length=1)


def verify(params: Mapping[str, Any], prompt: Sequence[Message], answer: str) -> Score:
    """Judge by each check; the value is the mean of theirs, where a verdict without one counts as 0 or 1.

    An unknown verifier raises ``ConfigError``, wrong parameters of any of them ``DataError``.
    """
    checks = read(Every, params, "every").checks
    scores = [registry.get("verifiers", check.verifier)(check.params, prompt, answer) for check in checks]
    values = [float(score.passed) if score.value is None else score.value for score in scores]
    failed = [score.why for score in scores if not score.passed]
    why = " ".join(failed) or "It passes every check."
    return Score(passed=not failed, value=sum(values) / len(values), why=why)
