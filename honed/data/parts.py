"""A block of rows as the tables of a dataset: what a process of an import hands back."""

from __future__ import annotations

from collections.abc import Mapping
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
from honed.data.weights import Weights, usual, weights_of
from honed.records import Fault, Message, Preference, prompt_ids, turns_id
from honed.store import columns
from honed.store.columns import Part

PARTS: tuple[Part, ...] = ("rows", "preferences", "ratings")

_SOURCE = 2**41
_NUMBERED = 2**40
"""A place is the number of its source times the first, plus its line, or else plus the second and its row's number."""


class Keys(NamedTuple):
    """What tells which records are kept: numbers of each record of a block, in order.

    Its part (a place in ``PARTS``), its line, its row's number where the line doesn't tell it (else 0), its id, and its
    prompt's id (0 where records weren't asked for). ``before`` has by index, of each record that answers several
    prompts, the ids of all but the last; ``weights`` those of the turns of each row whose answers don't all weigh 1.
    """

    parts: NDArray[np.uint8]
    lines: NDArray[np.int64]
    numbers: NDArray[np.int64]
    ids: NDArray[np.uint64]
    prompts: NDArray[np.uint64]
    before: Mapping[int, tuple[int, ...]]
    weights: Mapping[int, Weights]

    def places(self, source: int) -> list[int]:
        """Return where each record stands, as one number: that takes less memory than source, line and row do."""
        told = np.where(self.numbers > 0, _NUMBERED + self.numbers, self.lines)
        return (source * _SOURCE + told).tolist()  # type: ignore[no-any-return]


def standing(place: int) -> tuple[int, str, int]:
    """Return what a number of ``Keys.places`` says: the source, and ``line`` or ``row`` with its number."""
    source, told = divmod(place, _SOURCE)
    return (source, "row", told - _NUMBERED) if told >= _NUMBERED else (source, "line", told)


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
        self.keys: list[tuple[int, int, int, int, list[int]]] = []
        self.places: list[int] = []
        self.weights: dict[int, Weights] = {}
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
            part, id_, prompts = _told(record)
            self.records.setdefault(part, []).append((place, record, id_))
            if isinstance(record, Drawn) and not usual(record.messages):
                self.weights[len(self.keys)] = weights_of(record.messages)
            self.keys.append((PARTS.index(part), row.line, row.number or 0, int(id_, 16), prompts))
            self.places.append(place)
        return intake.counts


def _keys(careful: _Careful, plainly: list[Plain]) -> Keys:
    parts, lines, numbers, ids, prompts = zip(*careful.keys, strict=True) if careful.keys else ((), (), (), (), ())
    places = np.concatenate([np.array(careful.places, np.int64), *[np.asarray(one.places) for one in plainly]])
    order = np.argsort(places, kind="stable")
    before = {at: tuple(some[:-1]) for at, some in enumerate(prompts) if len(some) > 1}
    start = len(prompts)
    for one in plainly:
        before |= {start + at: some for at, some in one.before.items()}
        start += len(one.places)
    index = np.argsort(order) if before or careful.weights else order
    return Keys(
        np.concatenate([np.array(parts, np.uint8), *[np.zeros(len(one.places), np.uint8) for one in plainly]])[order],
        np.concatenate([np.array(lines, np.int64), *[one.lines for one in plainly]])[order],
        np.concatenate([np.array(numbers, np.int64), *[one.numbers for one in plainly]])[order],
        np.concatenate([np.array(ids, np.uint64), *[one.ids for one in plainly]])[order],
        np.concatenate([np.array([some[-1] for some in prompts], np.uint64), *[one.prompts for one in plainly]])[order],
        {int(index[at]): some for at, some in before.items()},
        {int(index[at]): some for at, some in careful.weights.items()},
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


def _told(record: Record) -> tuple[Part, str, list[int]]:
    """Return which file of a dataset holds a record, its id, and those of the prompts that it answers, its own last."""
    if isinstance(record, Drawn):
        return "rows", turns_id(record.messages), [int(one, 16) for one in prompt_ids(record.messages)]
    answered = [int(one, 16) for one in prompt_ids((*record.prompt, _ANSWER))]
    return "preferences" if isinstance(record, Preference) else "ratings", record.id, answered


_ANSWER = Message(role="assistant", content="")
