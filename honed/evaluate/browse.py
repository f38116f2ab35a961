"""Rows as a page's browser reads them: the prompt, every model's answer, why it was judged so, and the row's groups."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from honed.evaluate import asked
from honed.evaluate.compare import Evaluation
from honed.evaluate.errors.facets import Told
from honed.evaluate.outcome import Answer
from honed.records import Message

ROWS, BYTES, CHARACTERS = 5_000, 16_000_000, 20_000
"""What a page holds at most: rows, their JSON, and characters of each of their texts."""


@dataclass(frozen=True)
class Shown:
    """A row for the browser. ``fates`` are the outcomes it can be found by, the first its own; ``document`` is JSON."""

    row: str
    tags: Mapping[str, str]
    fates: tuple[str, ...]
    document: Mapping[str, Any]

    @property
    def fate(self) -> str:
        """The row's outcome."""
        return self.fates[0]


def rows(
    evaluations: Sequence[Evaluation], told: Sequence[Told], fates: Callable[[Sequence[bool | None]], tuple[str, ...]]
) -> list[Shown]:
    """Return the rows that all evaluations answered, by id. ``fates`` names a row's outcomes from its verdicts.

    ``told`` are the groups of the last evaluation's rows.
    """
    shared = set.intersection(*(set(one.answers) for one in evaluations))
    known = {one.answer.row: one for one in told}
    return [_shown([one.answers[row] for one in evaluations], known.get(row), fates) for row in sorted(shared)]


def fit(shown: Sequence[Shown], least: int = 1) -> list[Mapping[str, Any]]:
    """Return as many rows as a page may hold, their long texts cut; ``least`` of them whatever their size."""
    found: list[Mapping[str, Any]] = []
    size = 0
    for one in shown[:ROWS]:
        document = _cut(one.document)
        size += len(json.dumps(document))
        if size > BYTES and len(found) >= least:
            break
        found.append(document)
    return found


def _shown(
    answers: Sequence[Answer], told: Told | None, fates: Callable[[Sequence[bool | None]], tuple[str, ...]]
) -> Shown:
    first, last = answers[0], answers[-1]
    outcomes = fates([answer.passed for answer in answers])
    document = {
        "row": first.row,
        "prompt": [_turn(turn) for turn in first.prompt],
        "asked": asked.text(first.check) if first.check else "",
        "ideal": first.ideal,
        "tags": dict(first.tags),
        "fates": list(outcomes),
        "groups": [f"{facet.kind}: {facet.name}" for facet in told.facets] if told else [],
        "said": [_said(answer, told if answer is last else None) for answer in answers],
    }
    return Shown(first.row, first.tags, outcomes, document)


def _said(answer: Answer, told: Told | None) -> dict[str, Any]:
    parts = told.parts if told else asked.parts(answer)
    return {
        "answer": answer.answer,
        "passed": answer.passed,
        "why": answer.why,
        "vacuous": answer.vacuous,
        "cut": answer.finish == "length",
        **({"reasoning": answer.reasoning} if answer.reasoning else {}),
        "parts": [part.model_dump() for part in parts] if len(parts) > 1 else [],
    }


def _turn(message: Message) -> dict[str, Any]:
    calls = [f"{call.name}({json.dumps(dict(call.arguments), ensure_ascii=False)})" for call in message.tool_calls]
    tools = [str(tool.get("function", tool).get("name", "")) for tool in message.tools]
    parts = [message.content, *(f"calls {call}" for call in calls)]
    offered = f"\n(tools: {', '.join(tools)})" if tools else ""
    return {"role": message.role, "content": "\n".join(part for part in parts if part) + offered}


def _cut(value: Any) -> Any:
    """The same JSON value with every long text cut, and the cut said."""
    if isinstance(value, str):
        if len(value) <= CHARACTERS:
            return value
        return f"{value[:CHARACTERS]}\n… {len(value) - CHARACTERS:,} characters more, in report.json"
    if isinstance(value, Mapping):
        return {name: _cut(one) for name, one in value.items()}
    return [_cut(one) for one in value] if isinstance(value, list) else value
