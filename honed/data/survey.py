"""A source from end to end: opened, its shape found, its blocks read by several processes where it is large."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from honed.data import intake
from honed.data.intake import Counts, Intake, Manner
from honed.data.mapping import ColumnMap
from honed.data.parts import Read, Reader
from honed.data.shapes import threads
from honed.data.shapes.reading import Paths
from honed.data.shapes.table import Shape
from honed.data.sources import hub
from honed.data.sources.container import AS_SEEN, Container, Told
from honed.data.sources.find import shown
from honed.data.sources.read import reading
from honed.data.sources.row import Block, Known, Meter
from honed.jobs import limits, pool
from honed.records import Fault

_LARGE = 48 * 2**20
"""Bytes from which on starting more processes pays; they take about a second."""


@dataclass(frozen=True)
class Wanted:
    """What the user said of how sources are to be read."""

    shape: Shape | None = None
    columns: ColumnMap = field(default_factory=lambda: ColumnMap({}))
    paths: Paths = "all"
    attributes: Mapping[str, str] = field(default_factory=dict)
    told: Told = AS_SEEN


@dataclass
class Survey:
    """A source that is being read: what it is, and what was counted so far."""

    manner: Manner
    container: Container
    blocks: Iterator[Block]
    processes: int = 1
    counts: Counts = field(default_factory=Counts)
    messages: bool = False
    """Whether its rows are messages, and those that are read the trees that they were joined to."""

    def reads(self, *, keep: bool) -> Iterator[Read]:
        """Yield what each block held, counted; ``keep``: with its records. A source without rows is one fault."""
        for read in pool.ordered(Reader(self.manner, keep), self.blocks, self.processes):
            self.counts.add(read.counts)
            yield read
        if not self.counts.rows and not self.counts.kinds:
            read = Reader(self.manner, keep)(Known((intake.rowless(self.manner.file),)))
            self.counts.add(read.counts)
            yield read

    def notes(self) -> list[Fault]:
        """Return what is odd about the file itself and was put right in reading; counted as warnings."""
        encoding = self.container.encoding
        if encoding == "UTF-8":
            return []
        hint = "Save it as plain UTF-8, or mend it: honed data check FILE --fix OUT."
        fault = Fault(
            file=self.manner.file,
            line=1,
            field="file",
            kind="encoding",
            message=f"the file is {encoding}; other tools may not read it",
            hint=hint,
            severity="warning",
        )
        self.counts.warnings["encoding"] += 1
        return [fault]

    def detected(self) -> str:
        """Return what the source is and the evidence, in a sentence."""
        told = intake.detected(self.manner, self.container, self.counts)
        return f"{told}, joined of messages that stand one in a row" if self.messages else told

    def unread(self) -> str:
        """Return the fields that nothing reads, in a sentence, or ""."""
        return intake.unread(self.manner.file, dict(self.counts.ignored.most_common()))

    def facts(self) -> dict[str, Any]:
        """Return what was counted, as JSON values."""
        facts = {**intake.facts(self.manner, self.container, self.counts), "detected": self.detected()}
        return {**facts, "licence": self.container.licence} if self.container.licence else facts

    def rows(self) -> Iterator[intake.Taken | intake.Refused]:
        """Yield each row in this process, for those who need its text; nothing is counted."""
        for block in self.blocks:
            yield from Intake(self.manner).read(block)


@contextmanager
def surveying(source: str, wanted: Wanted, meter: Meter, processes: int | None = None) -> Iterator[Survey]:
    """Open ``source`` and tell its shape: the one that is wanted, else the commonest of the first rows.

    ``processes`` None: one for a small file, all cores for a large one. Raises ``DataError`` if it can't be opened.
    """
    file = shown(source)
    with reading(source, file, meter, told=wanted.told) as (container, blocks):
        messages = False
        if wanted.shape in (None, "oasst") and not wanted.columns.fields:
            messages, blocks = threads.joined(blocks, file)
        shape, blocks = intake.sampled(blocks, file, wanted.columns)
        manner = Manner(file, wanted.shape or shape, wanted.columns, wanted.paths, wanted.attributes)
        yield Survey(manner, container, blocks, processes or _processes(source, container), messages=messages)


def _processes(source: str, container: Container) -> int:
    if hub.is_ref(source):
        return limits.processes()
    size = Path(source).stat().st_size * (1 if not container.packing and container.kind != "Parquet" else 4)
    return limits.processes() if size >= _LARGE else 1
