"""A block of rows as the tables of a dataset: what a process of an import hands back."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from honed.data import attributes, bulk
from honed.data.bulk import Plain
from honed.data.intake import Counts, Intake, Manner, Refused
from honed.data.shapes.drawn import Drawn
from honed.data.shapes.reading import Record
from honed.data.sources.row import Block
from honed.records import Fault, Preference, turns_id
from honed.store import columns
from honed.store.columns import Part

PARTS: tuple[Part, ...] = ("rows", "preferences", "ratings")


class Keys(NamedTuple):
    """What tells which records are kept: numbers of each record of a block, in order.

    Its part (a place in ``PARTS``), its line, its id, and its prompt's id (0 where records weren't asked for).
    """

    parts: NDArray[np.uint8]
    lines: NDArray[np.int64]
    ids: NDArray[np.uint64]
    prompts: NDArray[np.uint64]


@dataclass
class Read:
    """What a block held: its records in order, as tables, empty where records weren't asked for, and their keys."""

    counts: Counts
    keys: Keys
    refused: list[Refused] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    tables: dict[Part, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reader:
    """Reads blocks in one manner; ``keep``: with their records. Travels to other processes.

    Ordinary rows are read many at once (``bulk``), all others one by one, to the same result.
    """

    manner: Manner
    keep: bool

    def __call__(self, block: Block) -> Read:
        """Read a block."""
        parted = bulk.parted(block, self.manner)
        plainly = [bulk.plainly(several, parted, self.manner, keep=self.keep) for several in parted.several]
        counts, careful = Counts(), _Careful(self.manner)
        counted = [one for plain in plainly for one in plain.counts]
        for place, row in parted.careful():
            counted.append((place, careful.take(place, row)))
        for _, one in sorted(counted, key=itemgetter(0)):  # in the order of the rows, as names are listed in it
            counts.add(one)
        warnings = sorted([*careful.warnings, *(one for plain in plainly for one in plain.warnings)], key=itemgetter(0))
        tables = _tables(careful, plainly) if self.keep else {}
        return Read(counts, _keys(careful, plainly), careful.refused, [fault for _, fault in warnings], tables)


class _Careful:
    """Rows read one by one, with their places in the block."""

    def __init__(self, manner: Manner) -> None:
        self.refused: list[Refused] = []
        self.warnings: list[tuple[int, Fault]] = []
        self.keys: list[tuple[int, int, int, int]] = []
        self.places: list[int] = []
        self.records: dict[Part, list[tuple[int, Any, str]]] = {}
        self._manner = manner

    def take(self, place: int, row: Any) -> Counts:
        """Read a row; return what was counted of it."""
        intake = Intake(self._manner)
        found = intake.take(row)
        if isinstance(found, Refused):
            self.refused.append(found)
            return intake.counts
        self.warnings += [(place, warning) for warning in found.warnings]
        for made_of in found.records:
            record = attributes.declared(made_of, found.source.value or {}, self._manner)
            part, id_, prompt = _told(record)
            self.records.setdefault(part, []).append((place, record, id_))
            self.keys.append((PARTS.index(part), row.line, int(id_, 16), int(prompt, 16)))
            self.places.append(place)
        return intake.counts


def _keys(careful: _Careful, plainly: list[Plain]) -> Keys:
    parts, lines, ids, prompts = zip(*careful.keys, strict=True) if careful.keys else ((), (), (), ())
    places = np.concatenate([np.array(careful.places, np.int64), *[np.asarray(one.places) for one in plainly]])
    order = np.argsort(places, kind="stable")
    return Keys(
        np.concatenate([np.array(parts, np.uint8), *[np.zeros(len(one.places), np.uint8) for one in plainly]])[order],
        np.concatenate([np.array(lines, np.int64), *[one.lines for one in plainly]])[order],
        np.concatenate([np.array(ids, np.uint64), *[one.ids for one in plainly]])[order],
        np.concatenate([np.array(prompts, np.uint64), *[one.prompts for one in plainly]])[order],
    )


def _tables(careful: _Careful, plainly: list[Plain]) -> dict[Part, Any]:
    made: dict[Part, Any] = {}
    first: dict[Part, int] = {}
    for part, found in careful.records.items():
        made[part] = columns.table(part, [record for _, record, _ in found], ids=[id_ for _, _, id_ in found])
        first[part] = found[0][0]
    if plainly:
        rows = careful.records.get("rows", [])
        where = np.concatenate([[place for place, _, _ in rows], *[np.asarray(one.places) for one in plainly]])
        tables = [*([made["rows"]] if rows else []), *[one.table for one in plainly]]
        made["rows"] = columns.ordered(tables, np.argsort(where, kind="stable"))
        first["rows"] = int(where.min())
    return {part: made[part] for part in sorted(made, key=first.__getitem__)}


def _told(record: Record) -> tuple[Part, str, str]:
    """Return which file of a dataset holds a record, its id, and its prompt's."""
    if isinstance(record, Drawn):
        return "rows", turns_id(record.messages), turns_id(record.messages[:-1])
    return "preferences" if isinstance(record, Preference) else "ratings", record.id, record.prompt_id
