"""The rows of one source as records, with everything counted that the user is told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from honed.data import nested, suspect
from honed.data.mapping import ColumnMap
from honed.data.shapes import plain, single, table
from honed.data.shapes.plain import Plain
from honed.data.shapes.problem import BadTurnError, Problem
from honed.data.shapes.reading import Paths, Record
from honed.data.shapes.table import FORMS, Shape
from honed.data.sources.container import Container
from honed.data.sources.row import Block, CutError, Row, unreadable
from honed.data.sources.where import dotted, line_of
from honed.records import Fault, Severity

_SAMPLE_ROWS = 200
NAMES = 100
"""Different names of ignored fields that are counted one by one; a file may hold any number."""


class Taken(NamedTuple):
    """A usable row, the records it became, and what is suspicious about it."""

    source: Row
    records: tuple[Record, ...]
    warnings: tuple[Fault, ...]


class Refused(NamedTuple):
    """A row that can't be used: its text as it stands in the file, and why."""

    text: str
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class Manner:
    """How the rows of a source are to be read; ``shape`` None: no row shows one.

    ``attributes`` are declared of all rows that don't say them themselves.
    """

    file: str
    shape: Shape | None
    columns: ColumnMap
    paths: Paths = "all"
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Counts:
    """What was counted of some rows; those of several blocks add up."""

    rows: int = 0
    usable: int = 0
    fields: Counter[tuple[str, ...]] = field(default_factory=Counter)
    extras: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)

    def add(self, other: Counts) -> None:
        """Add what was counted of other rows."""
        self.rows += other.rows
        self.usable += other.usable
        for name in ("fields", "extras", "ignored", "kinds", "warnings"):
            getattr(self, name).update(getattr(other, name))
        for name, _ in self.ignored.most_common()[NAMES:]:
            del self.ignored[name]


class Intake:
    """Reads the rows of a source in one manner, and counts them."""

    def __init__(self, manner: Manner) -> None:
        self.manner = manner
        self.counts = Counts()

    def read(self, block: Block) -> Iterator[Taken | Refused]:
        """Yield the block's rows as records, or refused, in their order."""
        for row in block.rows(self.manner.file):
            yield self.take(row)

    def take(self, row: Row) -> Taken | Refused:
        """Return one row as records, or refused."""
        counts = self.counts
        counts.rows += row.counts
        found = self._convert(row)
        if isinstance(found, Refused):
            counts.kinds.update([fault.kind for fault in found.faults])
        else:
            counts.usable += 1
            if found.warnings:
                counts.warnings.update([warning.kind for warning in found.warnings])
        return found

    def _convert(self, row: Row) -> Taken | Refused:
        if row.value is None:
            return Refused(row.written(), row.faults)
        manner = self.manner
        named = manner.columns.applied(row.value) if manner.columns.fields else row.value
        try:
            value = nested.opened(named, manner.shape, table=row.table)
        except BadTurnError as bad:
            return Refused(row.written(), (self.fault(row, bad.problem, "fault"),))
        if manner.shape is None:
            return Refused(row.written(), (self._shapeless(row, value),))
        if (plainly := plain.read(value, manner.shape)) is not None:
            return self._plain(row, plainly)
        read = table.read(value, manner.shape, manner.paths)
        if read.fields and value.keys() >= set(read.fields):
            self.counts.fields[read.fields] += 1
            if read.extra:
                self.counts.extras[read.extra] += 1
        if read.problems:
            return Refused(row.written(), tuple([self.fault(row, problem, "fault") for problem in read.problems]))
        self._ignore(read.ignored)
        odd = [*read.doubts, *(one for said in read.said for one in suspect.suspicions(said))]
        odd += [one for said in read.said if said[0].tools for one in suspect.undeclared(said)]
        warnings = tuple([self.fault(row, one, "warning") for one in dict.fromkeys(odd)]) if odd else ()
        return Taken(row, tuple(read.records), warnings)

    def _plain(self, row: Row, read: Plain) -> Taken:
        self.counts.fields[read.fields] += 1
        if read.extra:
            self.counts.extras[read.extra] += 1
        if read.ignored:
            self._ignore(read.ignored)
        warnings = tuple([self.fault(row, one, "warning") for one in suspect.suspicions(read.drawn.messages)])
        return Taken(row, (read.drawn,), warnings)

    def _ignore(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self.counts.ignored or len(self.counts.ignored) < NAMES:
                self.counts.ignored[name] += 1

    def fault(self, row: Row, problem: Problem, severity: Severity) -> Fault:
        """Return a problem of a row as the user is told of it, with its line."""
        path = self.manner.columns.source(problem.path, row.value)
        below = 0
        if row.lines is not None:
            below = row.lines.get(str(path[0]), 0) if path else 0
        elif row.text is not None and "\n" in row.text:
            below = line_of(row.text, path)
        return Fault(
            file=self.manner.file,
            line=row.line + below,
            field=dotted(path),
            kind=problem.kind,
            message=problem.message,
            hint=problem.hint,
            severity=severity,
            row=row.number,
        )

    def _shapeless(self, row: Row, value: Mapping[str, Any]) -> Fault:
        names = ", ".join(map(str, list(value)[:6])) or "none"
        return Fault(
            file=self.manner.file,
            line=row.line,
            field="row",
            kind="no known shape",
            message=f"the fields show no known shape: {names}",
            hint=_meant(value),
            row=row.number,
        )


def _meant(value: Mapping[str, Any]) -> str:
    """Return what to do about a row whose fields show no shape."""
    if written := next((name for name in nested.LISTS if isinstance(value.get(name), str) and value[name]), ""):
        return f'Write {written!r} as JSON: [{{"role": "user", "content": ...}}, {{"role": "assistant", ...}}].'
    if prompt := next((name for name in (*single.PROMPTS, *single.INSTRUCTIONS) if name in value), ""):
        return f"Which field answers {prompt!r}? Say so: --map response=FIELD."
    say = "Say which field is which: --map instruction=FIELD,response=FIELD."
    texts = [name for name, inner in value.items() if isinstance(inner, str)]
    if "text" not in texts:
        return say
    apart = "Prompt and answer have to stand apart, say as 'prompt' and 'response', for only answers are learned."
    return apart if texts == ["text"] else f"{apart} If they do: {say[0].lower()}{say[1:]}"


def sampled(blocks: Iterator[Block], file: str, columns: ColumnMap) -> tuple[Shape | None, Iterator[Block]]:
    """Return the commonest shape of the first rows, and all blocks."""
    first: list[Block] = []
    values: list[Mapping[str, Any]] = []
    for block in blocks:
        first.append(block)
        for row in block.rows(file):
            if row.value is not None:
                value = columns.applied(row.value) if columns.fields else row.value
                with suppress(BadTurnError):  # a row that can't be read shows no shape
                    values.append(nested.opened(value, None, table=row.table))
            if len(values) == _SAMPLE_ROWS:
                break
        if len(values) == _SAMPLE_ROWS or len(first) > 8:
            break
    return table.shape_of_all(values), chain(first, blocks)


def rowless(file: str) -> Row:
    """Return the fault of a file that has neither rows nor faults."""
    problem = CutError("no rows", "there are no rows in the file", "Give a file with rows in it.")
    return unreadable(file, (1, "file"), problem, counts=False)


def detected(manner: Manner, container: Container, counts: Counts) -> str:
    """Return what a source is and the evidence, in a sentence: said aloud once it is read."""
    if manner.shape is None:
        return f"{manner.file}: {container}, of no known shape in {counts.rows:,} rows"
    told = [f"{many:,} of {counts.rows:,} rows have {' and '.join(names)}" for names, many in counts.fields.items()]
    told += [f"{many:,} have {name} too" for name, many in counts.extras.items()]
    return f"{manner.file}: {container}, {FORMS[manner.shape].title}: {', '.join(told) or 'no row could be read'}"


def unread(file: str, ignored: Mapping[str, int]) -> str:
    """Return the fields that nothing reads, and how often they stand there, in a sentence, or ""."""
    named = ", ".join(f"{name} ({count:,})" for name, count in ignored.items())
    return f"{file}: not read: {named}" if named else ""


def facts(manner: Manner, container: Container, counts: Counts) -> dict[str, Any]:
    """Return what was counted of a source, as JSON values."""
    return {
        "file": manner.file,
        "container": str(container),
        "encoding": container.encoding,
        "shape": manner.shape,
        "detected": detected(manner, container, counts),
        "rows": counts.rows,
        "usable": counts.usable,
        "ignored": dict(counts.ignored.most_common()),
        "faults": dict(counts.kinds.most_common()),
        "warnings": dict(counts.warnings.most_common()),
    }
