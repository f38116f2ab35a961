"""A row as it stands in a file, the block of rows it is read in, and the words for a row that can't be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import orjson

from honed.records import Fault

MAX_ROW = 64 * 2**20
"""Longest row that is read, in bytes or characters: reading stays in bounded memory whatever the file holds."""

BLOCK = 2**20
"""Characters of text in a block, about: what one process is given at a time."""

KEPT = 1000
"""Characters kept of a row that is too long to read."""


class Row(NamedTuple):
    """One row: the line it starts at, its text, and its value, or else the faults that made it unreadable.

    Lines count from 1; in Parquet, which has none, the line is the row's number. ``text`` is None where the source
    has none, and then the value is written as JSON. ``lines`` says how many lines below the first a field stands,
    where the text is no JSON. ``number`` is the row's, from 1, where it shares its line with another.
    """

    line: int
    text: str | None
    value: dict[str, Any] | None
    faults: tuple[Fault, ...] = ()
    counts: bool = True
    """False for a fault of the file itself, such as a missing bracket, which is no row."""
    lines: dict[str, int] | None = None
    number: int | None = None
    table: bool = False
    """True where every field is a text, for the file knows no other type."""

    def numbered(self, number: int | None) -> Row:
        """Return the row with its number, which its faults say as well."""
        if number is None:
            return self
        faults = tuple([fault.model_copy(update={"row": number}) for fault in self.faults])
        return self._replace(faults=faults, number=number)

    def written(self) -> str:
        """Return the row as it stands in its source."""
        if self.text is not None:
            return self.text
        return as_json(self.value).decode()


def as_json(value: object) -> bytes:
    """Return a row as JSON whatever it holds: numbers of any size, and as a text what JSON has no form for."""
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except orjson.JSONEncodeError:  # a whole number of more than 64 bits
        return json.dumps(value, default=str, separators=(",", ":")).encode()


class Block(Protocol):
    """Rows that aren't decoded yet: cheap to hand to another process."""

    def rows(self, file: str) -> Iterator[Row]:
        """Decode the rows, in their order; ``file`` is its name in faults."""
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """A block of rows that are known already: the faults of a file."""

    known: tuple[Row, ...]

    def rows(self, file: str) -> Iterator[Row]:  # noqa: ARG002 - the rows name their file themselves
        """Yield the rows."""
        yield from self.known


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
