"""Stored answers: a JSONL file of prompts and responses by any model, matched to the rows of a suite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, field_validator

from honed.errors import DataError
from honed.evaluate import lines as jsonl
from honed.evaluate.suites.suite import Row, Suite, prompt_key
from honed.records import Message, Record

_HINT = 'Each line is {"prompt": ..., "response": ...}, with the prompts of the suite.'


class Stored(Record):
    """One line: the prompt (a text, or messages) and what the model said. No response at all is an empty one."""

    prompt: tuple[Message, ...] = Field(min_length=1)
    response: str

    @field_validator("prompt", mode="before")
    @classmethod
    def _as_messages(cls, value: object) -> object:
        return ({"role": "user", "content": value},) if isinstance(value, str) else value

    @field_validator("response", mode="before")
    @classmethod
    def _no_response(cls, value: object) -> object:
        return "" if value is None else value


class Matched(Record):
    """The answers by row id, and what didn't fit: each a sentence with its place."""

    file: str
    lines: int
    answers: dict[str, str]
    unknown: tuple[str, ...]
    repeated: tuple[str, ...]
    missing: tuple[str, ...]


def read(path: Path, suite: Suite) -> Matched:
    """Match a file of answers to a suite by prompt: exactly, or else but for white space at both ends.

    A prompt that the suite hasn't is left out, one that occurs again takes the place of the earlier one (as in the
    benchmarks' own readers), a row without an answer fails: each is listed. Raises ``DataError`` for a file that can't
    be read, lines that aren't answers (all of them, by line), or when no prompt at all is the suite's.
    """
    exact = {row.key: row for row in suite.rows}
    trimmed = {row.key.strip(): row for row in suite.rows}
    answers: dict[str, str] = {}
    seen: dict[str, int] = {}
    unknown: list[str] = []
    repeated: list[str] = []
    stored = lines(path)
    for number, line in stored:
        key = prompt_key(line.prompt)
        row = exact.get(key) or trimmed.get(key.strip())
        if row is None:
            unknown.append(f"{path}:{number}: prompt: not in the suite: {_short(key)}")
            continue
        if row.id in seen:
            repeated.append(f"{path}:{number}: prompt: also in line {seen[row.id]}, which is left out: {_short(key)}")
        seen[row.id] = number
        answers[row.id] = line.response
    if not answers:
        raise DataError(f"{path}: none of its {len(stored)} prompts is in the suite {suite.manifest.name!r}", _HINT)
    return Matched(
        file=str(path),
        lines=len(stored),
        answers=answers,
        unknown=tuple(unknown),
        repeated=tuple(repeated),
        missing=tuple(_missing(suite.rows, answers)),
    )


def _missing(rows: Sequence[Row], answers: dict[str, str]) -> list[str]:
    return [f"row {row.id}: no answer: {_short(row.key)}" for row in rows if row.id not in answers]


def lines(path: Path) -> list[tuple[int, Stored]]:
    """Return the answers with their line numbers. Raises ``DataError`` that names every line which is none."""
    return jsonl.read(path, Stored, "answer", _HINT)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 60 else f"{line[:59]}…")
