"""A block of rows as the tables of a dataset: what a process of an import hands back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from honed.data import attributes
from honed.data.intake import Counts, Intake, Manner, Refused
from honed.data.shapes.drawn import Drawn
from honed.data.shapes.reading import Record
from honed.data.sources.row import Block
from honed.records import Fault, Preference, turns_id
from honed.store import columns
from honed.store.columns import Part


@dataclass
class Read:
    """What a block held: its records in order, as tables, with the ids that tell which are kept.

    ``keys`` has for each record its part, its place in that part's table, its line, and its id and its prompt's as
    numbers. ``tables`` is None where records weren't asked for.
    """

    counts: Counts
    refused: list[Refused] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    keys: list[tuple[Part, int, int, int, int]] = field(default_factory=list)
    tables: dict[Part, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reader:
    """Reads blocks in one manner; ``keep``: with their records. Travels to other processes."""

    manner: Manner
    keep: bool

    def __call__(self, block: Block) -> Read:
        """Read a block."""
        intake = Intake(self.manner)
        read = Read(intake.counts)
        records: dict[Part, list[Any]] = {}
        ids: dict[Part, list[str]] = {}
        for found in intake.read(block):
            if isinstance(found, Refused):
                read.refused.append(found)
                continue
            read.warnings += found.warnings
            for made_of in found.records:
                record = attributes.declared(made_of, found.source.value or {}, self.manner)
                part, id_, prompt = _told(record)
                made = records.setdefault(part, [])
                read.keys.append((part, len(made), found.source.line, int(id_, 16), int(prompt, 16)))
                made.append(record)
                ids.setdefault(part, []).append(id_)
        if self.keep:
            read.tables = {part: columns.table(part, made, ids=ids[part]) for part, made in records.items()}
        return read


def _told(record: Record) -> tuple[Part, str, str]:
    """Return which file of a dataset holds a record, its id, and its prompt's."""
    if isinstance(record, Drawn):
        return "rows", turns_id(record.messages), turns_id(record.messages[:-1])
    return "preferences" if isinstance(record, Preference) else "ratings", record.id, record.prompt_id
