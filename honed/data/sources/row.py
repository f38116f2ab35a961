"""A row as it stands in a file, and the words for a row that can't be read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from honed.records import Fault

MAX_ROW = 64 * 2**20
"""Longest row that is read, in bytes or characters: reading stays in bounded memory whatever the file holds."""

KEPT = 1000
"""Characters kept of a row that is too long to read."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the line it starts at, its text, and its value, or else the faults that made it unreadable.

    Lines count from 1; in Parquet, which has none, the line is the row's number.
    """

    line: int
    text: str
    value: dict[str, Any] | None
    faults: tuple[Fault, ...] = ()
    counts: bool = True
    """False for a fault of the file itself, such as a missing bracket, which is no row."""


@dataclass(slots=True)
class Meter:
    """How far a file is read: ``done`` of ``total``, in whatever unit the reader counts."""

    done: int = 0
    total: int = 0


@dataclass(slots=True)
class CutError(Exception):
    """The bytes of a file end, or turn to nonsense, before its content does."""

    kind: str
    message: str
    hint: str = field(default="")


def unreadable(file: str, place: tuple[int, str], problem: CutError, text: str = "", *, counts: bool = True) -> Row:
    """Return a row without a value: what stands at ``place`` (line, field) of ``file`` can't be read, and why."""
    line, where = place
    fault = Fault(file=file, line=line, field=where, kind=problem.kind, message=problem.message, hint=problem.hint)
    return Row(line, text, None, (fault,), counts)


def too_long(limit: int) -> CutError:
    """Return the words for a row of more than ``limit`` bytes."""
    hint = "Rows stand one a line, or are the elements of an array; split the row if it is really so long."
    return CutError("too long", f"the row is longer than {limit:,} bytes, or never closed", hint)
