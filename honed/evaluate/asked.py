"""What a row's check asks for, in words, and what is said of each of its instructions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from honed import registry
from honed.errors import HonedError
from honed.evaluate.outcome import Answer
from honed.records import Check, Record

_LONGEST = 200  # characters of a parameter


class Part(Record):
    """The verdict on one constraint of a row: its type, what it asks for, and why the answer passes or fails it."""

    id: str
    text: str
    passed: bool
    why: str


def family(check: Check) -> Any:
    """Return the family of instructions that a check names, or None if its verifier isn't one."""
    return registry.get("instructions", check.verifier) if check.verifier in registry.names("instructions") else None


def parts(answer: Answer) -> tuple[Part, ...]:
    """Return a verdict for each instruction of a row; none if it isn't verified, or its check wasn't kept.

    The row of another verifier is one part. An instruction that isn't known any more has no verdict of its own.
    """
    check = answer.check
    if check is None or answer.passed is None:
        return ()
    known = family(check)
    whole = (Part(id=check.verifier, text=text(check), passed=answer.passed, why=answer.why),)
    if known is None:
        return whole
    try:
        said = zip(known.judge(check.params, answer.prompt, answer.answer), known.describe(check.params), strict=True)
        loose = bool(check.params.get("loose"))
        return tuple(_part(one.id, asked, one.loose if loose else one.strict) for one, asked in said)
    except HonedError:
        return whole


def text(check: Check) -> str:
    """Return what a check asks for in one line: the instructions' own words, or the verifier with its parameters."""
    known = family(check)
    if known is not None:
        try:
            return " ".join(known.describe(check.params))
        except HonedError:
            pass
    given = ", ".join(f"{name} {_value(value)}" for name, value in check.params.items() if value is not None)
    return f"{check.verifier}: {given}" if given else check.verifier


def _part(id_: str, asked: str, score: Any) -> Part:
    return Part(id=id_, text=asked, passed=score.passed, why=score.why)


def _value(value: object) -> str:
    if isinstance(value, str):
        said = value
    elif isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        said = " + ".join(value)
    elif isinstance(value, Mapping):
        said = "; ".join(f"{name} = {_value(one)}" for name, one in value.items())
    else:
        said = json.dumps(value, ensure_ascii=False, default=str)
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST - 1]}…"
