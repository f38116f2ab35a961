"""Blocks of which most rows are ordinary: these are read, judged, counted and hashed by their columns, all at once.

The result is what ``Intake`` gives row by row: a row in which anything may be out of the ordinary is left to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from honed.data import nested, suspect
from honed.data.intake import NAMES, Counts, Intake, Manner
from honed.data.shapes import columnar, plain
from honed.data.shapes.columnar import Several
from honed.data.sources import lines
from honed.data.sources.decode import Decoder
from honed.data.sources.lines import Lines
from honed.data.sources.row import Block, Row
from honed.records import Fault, plain_ids
from honed.store import columns


class Plain(NamedTuple):
    """Ordinary rows: their places in the block, lines and ids, their table, and what was counted, from which place.

    ``numbers`` and ``before`` are as in ``parts.Keys``.
    """

    places: Sequence[int]
    lines: NDArray[np.int64]
    numbers: NDArray[np.int64]
    ids: NDArray[np.uint64]
    prompts: NDArray[np.uint64]
    before: Mapping[int, tuple[int, ...]]
    table: Any
    counts: list[tuple[int, Counts]]
    warnings: list[tuple[int, Fault]]


@dataclass(frozen=True)
class Parted:
    """A block's rows: those that are read many at once, and the others.

    ``row`` returns the row at a place that was read, ``decoded`` that at any other, None if nothing stands there.
    """

    several: list[Several]
    values: Sequence[Mapping[str, Any] | None]
    row: Callable[[int], Row]
    decoded: Callable[[int], Row | None]
    first: int | None = None
    """The line of place 0, where each place is a line."""

    def lines(self, places: Sequence[int]) -> NDArray[np.int64]:
        """Return the lines of rows that were read."""
        if self.first is not None:
            return np.array(places, np.int64) + self.first
        return np.array([self.row(place).line for place in places], np.int64)

    def numbers(self, places: Sequence[int]) -> NDArray[np.int64]:
        """Return the numbers of rows that were read, 0 where their line tells them."""
        if self.first is not None:
            return np.zeros(len(places), np.int64)
        return np.array([self.row(place).number or 0 for place in places], np.int64)

    def careful(self) -> Iterator[tuple[int, Row]]:
        """Yield the rows that have to be read one by one, with their places."""
        alone = np.ones(len(self.values), bool)
        for several in self.several:
            alone[several.places] = False
        for place in np.flatnonzero(alone).tolist():
            if (row := self.decoded(place)) is not None:
                yield place, row


def parted(block: Block, manner: Manner) -> Parted:
    """Return the rows of a block, decoded as far as need be."""
    able = manner.shape in columnar.SHAPES and not manner.attributes
    values: Sequence[Mapping[str, Any] | None]
    if isinstance(block, Lines) and able:
        texts, first = block.data.split(b"\n"), block.first
        decoder = Decoder(manner.file)
        values = lines.quickly(texts)

        def decoded(place: int) -> Row | None:
            text = texts[place].decode("utf-8", "surrogateescape")
            return decoder.whole(text, first + place) if text.strip(lines.BLANKS) else None

        return Parted(*_several(values, manner), lambda place: Row(first + place, "", None), decoded, first)
    rows = list(block.rows(manner.file))
    values = [row.value for row in rows] if able else [None] * len(rows)
    table = any(row.table for row in rows)
    return Parted(*_several(values, manner, table=table), rows.__getitem__, rows.__getitem__)


def _several(
    values: Sequence[Mapping[str, Any] | None], manner: Manner, *, table: bool = False
) -> tuple[list[Several], Sequence[Mapping[str, Any] | None]]:
    if manner.columns.fields:
        values = [None if value is None else manner.columns.applied(value) for value in values]
    if table:
        values = [None if value is None or nested.suspected(value, table=True) else value for value in values]
    able = manner.shape in columnar.SHAPES and not manner.attributes
    several = columnar.read(values, str(manner.shape)) if able else []
    if len({name for one in several for name in one.ignored}) >= NAMES:
        several = []  # which of so many names are counted depends on the order of the rows
    return several, values


def plainly(several: Several, of: Parted, manner: Manner, *, keep: bool) -> Plain:
    """Return ordinary rows with ids, warnings and counts; ``keep``: with their table and their prompts' ids."""
    roles, texts, ends = several.roles, several.texts, several.ends
    ids = plain_ids(roles, texts, ends, prompts=keep)
    first = several.places[0]
    many = len(several.places)
    counts = [
        (
            first,
            Counts(
                rows=many,
                usable=many,
                fields=Counter({several.fields: many}),
                ignored=Counter(dict.fromkeys(several.ignored, many)),
            ),
        )
    ]
    if several.with_extra:
        counts.append((several.with_extra[0], Counts(extras=Counter({several.extra: len(several.with_extra)}))))
    odd = [several.places[one] for one in sorted(suspect.doubtful(roles, texts, ends))]
    warnings = [(place, warning) for place in odd for warning in _warned(place, of, manner)]
    counts += _counted(warnings)
    return Plain(
        several.places,
        of.lines(several.places),
        of.numbers(several.places),
        np.frombuffer(ids.rows, ">u8").astype(np.uint64),
        np.frombuffer(ids.prompts, ">u8").astype(np.uint64) if keep else np.zeros(many, np.uint64),
        ids.before,
        columns.plain_rows(ids.rows, roles, texts, ends, several.tags) if keep else None,
        counts,
        warnings,
    )


def _counted(warnings: Sequence[tuple[int, Fault]]) -> Iterator[tuple[int, Counts]]:
    first: dict[str, int] = {}
    for place, warning in warnings:
        first.setdefault(warning.kind, place)
    kinds = Counter([warning.kind for _, warning in warnings])
    yield from ((place, Counts(warnings=Counter({kind: kinds[kind]}))) for kind, place in first.items())


def _warned(place: int, of: Parted, manner: Manner) -> Iterator[Fault]:
    value = of.values[place]
    read = plain.read(value, str(manner.shape)) if value is not None else None
    assert read  # its columns were read
    for problem in suspect.suspicions(read.drawn.messages):
        yield Intake(manner).fault(of.row(place), problem, "warning")
