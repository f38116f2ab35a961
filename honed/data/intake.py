"""The rows of one file as conversations, with everything counted that the user is told of the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from honed.data import shapes
from honed.data.shapes import TITLES, Shape
from honed.data.sources.container import Container
from honed.data.sources.read import reading
from honed.data.sources.row import CutError, Meter, Row, unreadable
from honed.data.sources.where import dotted, line_of
from honed.data.turns import Problem
from honed.records import Conversation, Fault

_SAMPLE_ROWS = 200
_SAMPLE_TEXT = 8 * 2**20
_NAMES = 100
"""Different names of ignored fields that are counted one by one; a file may hold any number."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A usable row: its line, its text as it stands in the file, and the conversation it became."""

    line: int
    text: str
    row: Conversation


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that can't be used: its text as it stands in the file, and why."""

    text: str
    faults: tuple[Fault, ...]


@dataclass
class Intake:
    """A file that is being read: what it is, and what was counted so far. ``shape`` None: no row shows one."""

    file: str
    container: Container
    shape: Shape | None
    rows: int = 0
    usable: int = 0
    fields: Counter[tuple[str, ...]] = field(default_factory=Counter)
    extras: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)

    def detected(self) -> str:
        """Return what the file is and the evidence, in a sentence: said aloud once the file is read."""
        if self.shape is None:
            return f"{self.file}: {self.container}, of no known shape in {self.rows:,} rows"
        counted = [
            f"{count:,} of {self.rows:,} rows have {' and '.join(names)}" for names, count in self.fields.items()
        ]
        counted += [f"{count:,} have {name} too" for name, count in self.extras.items()]
        return f"{self.file}: {self.container}, {TITLES[self.shape]}: {', '.join(counted) or 'no row could be read'}"

    def unread(self) -> str:
        """Return the fields that nothing reads, in a sentence, or ""."""
        if not self.ignored:
            return ""
        return f"{self.file}: not read: " + ", ".join(f"{name} ({n:,})" for name, n in self.ignored.most_common())

    def facts(self) -> dict[str, Any]:
        """Return what was counted, as JSON values."""
        return {
            "file": self.file,
            "container": str(self.container),
            "shape": self.shape,
            "detected": self.detected(),
            "rows": self.rows,
            "usable": self.usable,
            "ignored": dict(self.ignored.most_common()),
            "faults": dict(self.kinds.most_common()),
        }


@contextmanager
def taking(
    path: Path, file: str, shape: Shape | None, meter: Meter
) -> Iterator[tuple[Intake, Iterator[Taken | Refused]]]:
    """Open ``path``, called ``file`` in faults; yield its counts and its rows, usable or refused, in their order.

    ``shape`` None: the commonest of the first rows. Raises ``DataError`` if the file can't be opened.
    """
    with reading(path, file, meter) as (container, rows):
        sample: list[Row] = []
        size = 0
        for row in rows:
            sample.append(row)
            size += len(row.text)
            if len(sample) == _SAMPLE_ROWS or size > _SAMPLE_TEXT:
                break
        shape = shape or shapes.shape_of_all(row.value for row in sample if row.value is not None)
        intake = Intake(file, container, shape)
        yield intake, _rows(intake, chain(sample, rows))


def _rows(intake: Intake, rows: Iterator[Row]) -> Iterator[Taken | Refused]:
    for row in chain(rows, _none(intake)):
        intake.rows += row.counts
        found = _convert(intake, row)
        if isinstance(found, Refused):
            intake.kinds.update(fault.kind for fault in found.faults)
        else:
            intake.usable += 1
        yield found


def _none(intake: Intake) -> Iterator[Row]:
    """Yield a fault if the file, now read, had neither rows nor faults."""
    if not intake.rows and not intake.kinds:
        problem = CutError("no rows", "there are no rows in the file", "Give a file with rows in it.")
        yield unreadable(intake.file, (1, "file"), problem, counts=False)


def _convert(intake: Intake, row: Row) -> Taken | Refused:
    if row.value is None:
        return Refused(row.text, row.faults)
    if intake.shape is None:
        return Refused(row.text, (_shapeless(intake.file, row),))
    read = shapes.read(row.value, intake.shape)
    if read.fields and all(name in row.value for name in read.fields):
        intake.fields[read.fields] += 1
        intake.extras.update((read.extra,) if read.extra else ())
    if read.row is None:
        return Refused(row.text, tuple(_fault(intake.file, row, problem) for problem in read.problems))
    for name in read.ignored:
        if name in intake.ignored or len(intake.ignored) < _NAMES:
            intake.ignored[name] += 1
    return Taken(row.line, row.text, read.row)


def _fault(file: str, row: Row, problem: Problem) -> Fault:
    return Fault(
        file=file,
        line=row.line + (line_of(row.text, problem.path) if "\n" in row.text else 0),
        field=dotted(problem.path),
        kind=problem.kind,
        message=problem.message,
        hint=problem.hint,
    )


def _shapeless(file: str, row: Row) -> Fault:
    assert row.value is not None
    names = ", ".join(map(str, list(row.value)[:6])) or "none"
    return Fault(
        file=file,
        line=row.line,
        field="row",
        kind="no known shape",
        message=f"the fields show no known shape: {names}",
        hint="Name them as Alpaca (instruction, output), prompt and response, messages, or ShareGPT (conversations).",
    )
