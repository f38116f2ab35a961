"""IFEval and IFBench as verifiers of rows: ``{"instructions": [{"id": ..., "kwargs": {...}}]}`` in a row's check.

The same families draw constraints for training data; other rooms get them by name from the registry, group
``instructions``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

from honed.errors import DataError
from honed.evaluate.verifiers import table
from honed.evaluate.verifiers.instruction import Instruction, Params, find, loosely
from honed.evaluate.verifiers.table import Table
from honed.records import Message, Score


class Verdict(NamedTuple):
    """What is said of one instruction of a row: of the answer as it is, and with the loose rule."""

    id: str
    strict: Score
    loose: Score


class Asked(NamedTuple):
    """One instruction of a row with its parameters."""

    instruction: Instruction[Any]
    params: Params


@dataclass(frozen=True)
class Family:
    """The instructions of one benchmark."""

    name: str
    table: Table

    def read(self, params: Mapping[str, Any]) -> tuple[list[Asked], bool]:
        """Return the instructions that a row's check asks for, and whether the loose rule decides.

        Raises ``DataError`` for an unknown instruction or argument, a missing one, and a check that asks for nothing.
        """
        if unknown := sorted(params.keys() - {"instructions", "loose"}):
            hint = "Known: instructions, loose."
            raise DataError(f"the verifier {self.name!r} has no parameter {unknown[0]!r}", hint)
        items, loose = params.get("instructions"), params.get("loose", False)
        if not isinstance(items, list | tuple) or not items:
            raise DataError(
                f"the verifier {self.name!r} is given no instructions",
                'Write "instructions": [{"id": ..., "kwargs": {...}}].',
            )
        if not isinstance(loose, bool):
            raise DataError(
                f"the parameter 'loose' of the verifier {self.name!r} is no boolean", "Write true or false."
            )
        return [self._asked(item) for item in items], loose

    def verify(self, params: Mapping[str, Any], prompt: Sequence[Message], answer: str) -> Score:
        """Judge an answer by all instructions of a row; ``why`` names those that aren't followed."""
        asked, loose = self.read(params)
        scores = [
            one.instruction.verify_loosely(one.params, prompt, answer)
            if loose
            else one.instruction.verify(one.params, prompt, answer)
            for one in asked
        ]
        failed = [
            f"{one.instruction.id}: {score.why}" for one, score in zip(asked, scores, strict=True) if not score.passed
        ]
        return Score(passed=not failed, why=" ".join(failed) or "Every instruction is followed.")

    def judge(self, params: Mapping[str, Any], prompt: Sequence[Message], answer: str) -> list[Verdict]:
        """Return the verdict on each instruction of a row, in the row's order."""
        asked, _ = self.read(params)
        return [_verdict(one, prompt, answer) for one in asked]

    def describe(self, params: Mapping[str, Any]) -> list[str]:
        """Return each instruction of a row as a sentence."""
        asked, _ = self.read(params)
        return [one.instruction.describe(one.params) for one in asked]

    def draw(self, rng: Random, request: str = "", count: int = 1, including: str = "") -> dict[str, Any]:
        """Return the parameters of a check with ``count`` instructions to add to ``request``.

        One of them is ``including``, where that is an id; an unknown one raises ``DataError``.

        Several are of different kinds (the part of an id before its colon). Single tasks (``custom``), which are
        requests of their own, and those that forbid an answer (``repeat``) are drawn alone only.
        """
        kinds: dict[str, list[Instruction[Any]]] = {}
        for one in self.table.values():
            kind = one.id.partition(":")[0]
            if count == 1 or kind not in ("custom", "repeat"):
                kinds.setdefault(kind, []).append(one)
        if not 1 <= count <= len(kinds):
            raise DataError(f"{self.name} can't draw {count} instructions together", f"Draw 1 to {len(kinds)}.")
        if including:
            kinds.pop(including.partition(":")[0], None)
            chosen = [find(self.table, including, self.name)]
            chosen += [rng.choice(kinds[kind]) for kind in rng.sample(sorted(kinds), count - 1)]
        elif count == 1:
            chosen = [rng.choice(list(self.table.values()))]
        else:
            chosen = [rng.choice(kinds[kind]) for kind in rng.sample(sorted(kinds), count)]
        drawn = [{"id": one.id, "kwargs": one.draw(rng, request).model_dump(mode="json")} for one in chosen]
        return {"instructions": drawn}

    def _asked(self, item: object) -> Asked:
        if not isinstance(item, Mapping) or not {"id"} <= item.keys() <= {"id", "kwargs"}:
            raise DataError(
                f"an instruction of the verifier {self.name!r} is not of the form id and kwargs",
                'Write {"id": ..., "kwargs": {...}}.',
            )
        instruction = find(self.table, item["id"], self.name)
        kwargs = item.get("kwargs") or {}
        if not isinstance(kwargs, Mapping):
            raise DataError(f"the kwargs of the instruction {instruction.id!r} are no mapping", "Write {...}.")
        return Asked(instruction, instruction.read(kwargs))


def _verdict(asked: Asked, prompt: Sequence[Message], answer: str) -> Verdict:
    def judge(text: str) -> Score:
        return asked.instruction.verify(asked.params, prompt, text)

    strict = judge(answer)
    return Verdict(asked.instruction.id, strict, loosely(judge, answer, strict))


IFEVAL = Family("ifeval", table.IFEVAL)
IFBENCH = Family("ifbench", table.IFBENCH)
