"""The verifier ``number``: a number within a tolerance, in its unit or one that can be converted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, field_validator

from honed.evaluate.scorers.params import Params, Text, read
from honed.evaluate.scorers.units import Quantity, Unit, quantities, unit
from honed.records import Message, Score


class Number(Params):
    """The right ``answer``, its ``unit``, how far off may pass, and which number of a text counts.

    ``tolerance`` is absolute and in the unit of ``answer``, ``relative`` a fraction of it; the larger one holds. A
    number without a unit is taken in that of ``answer``; one of another kind of unit fails.
    """

    answer: float = Field(allow_inf_nan=False)
    unit: Text | None = None
    tolerance: float = Field(default=0.0, ge=0)
    relative: float = Field(default=0.0, ge=0)
    which: Literal["last", "first", "only", "any"] = "last"

    @field_validator("unit")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and unit(value) is None:
            raise ValueError(f"there is no unit {value!r}")
        return value


def verify(params: Mapping[str, Any], prompt: Sequence[Message], answer: str) -> Score:  # noqa: ARG001
    """Judge ``answer`` by a number in it. Never raises on any answer; wrong parameters raise ``DataError``."""
    asked = read(Number, params, "number")
    found = quantities(answer)
    if not found:
        return Score(passed=False, why="The answer holds no number.")
    if asked.which == "only" and len(found) > 1:
        return Score(passed=False, why=f"The answer holds {len(found)} numbers; one alone is asked for.")
    chosen = found if asked.which == "any" else [found[0] if asked.which == "first" else found[-1]]
    wanted = unit(asked.unit) if asked.unit else None
    passed = any(_equal(asked, wanted, one) for one in chosen)
    said = ", ".join(f"{one.value:g}{f' {one.unit.name}' if one.unit else ''}" for one in chosen[:5])
    right = f"{asked.answer:g}{f' {asked.unit}' if asked.unit else ''}"
    return Score(passed=passed, why=f"The answer says {said}; {right} is right.")


def _equal(asked: Number, wanted: Unit | None, found: Quantity) -> bool:
    value = found.value
    if wanted and found.unit:
        if found.unit.kind != wanted.kind:
            return False
        value *= found.unit.factor / wanted.factor
    allowed = max(asked.tolerance, asked.relative * abs(asked.answer), 1e-9 * abs(asked.answer))
    return abs(value - asked.answer) <= allowed
