"""Contradictions: the same prompt, with the same tools, and different answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from pydantic import Field

from honed.config import Config
from honed.data.curate.exact import digest, repeated
from honed.data.curate.row import Finding, Row
from honed.data.curate.view import View
from honed.data.curate.words import words


class Contradictions(Config):
    """Settings of the step ``contradictions``."""

    short: int = Field(
        default=5,
        ge=1,
        description="answers of at most so many words contradict each other if they differ; longer ones are only told",
    )
    action: Literal["report", "drop"] = Field(
        default="report", description="whether rows whose short answers contradict each other are dropped, all of them"
    )


def _prompt(row: Row) -> bytes:
    said = "\x1f".join(f"{turn.role}\x1e{' '.join(words(turn.content))}\x1e{turn.calls}" for turn in row.turns[:-1])
    return digest(said, row)


def _said(row: Row) -> str:
    return " ".join(words(row.answer))


def contradictions(view: View, settings: Contradictions, _say: Callable[[str], None]) -> Iterator[Finding]:
    """Find prompts with several answers: short ones contradict each other, long ones may all be good.

    Case, blanks and punctuation make no difference, neither in prompts nor in answers.
    """
    first: dict[bytes, int] = {}
    groups: dict[int, list[int]] = {}
    taken = view.take(repeated(view, _prompt))
    for row in taken.values():
        number = first.setdefault(_prompt(row), row.number)
        if number != row.number:
            groups.setdefault(number, [number]).append(row.number)
    for group in groups.values():
        yield from _judged([taken[number] for number in group], settings)


def _judged(rows: list[Row], settings: Contradictions) -> Iterator[Finding]:
    answers = {_said(row) for row in rows}
    if len(answers) == 1:
        return
    short = all(len(answer.split()) <= settings.short for answer in answers)
    kind = "contradiction" if short else "several answers"
    action = settings.action if short else "report"
    for row in rows:
        other = next(one for one in rows if _said(one) != _said(row))
        what = f"{row.answer[:60]!r}, and {other.answer[:60]!r} in row {other.id}, to the same prompt"
        yield Finding(row.number, row.id, kind, action, what, other.id)
