"""Rows in pieces, read where they are worked on: in this process, in several, or on the machines of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from honed.data.curate.row import Row, Turn
from honed.jobs import limits, pool
from honed.records import Split
from honed.store.columns import Part

T = TypeVar("T")
R = TypeVar("R")

_READ: Mapping[Part, list[str]] = {
    "rows": ["id", "split", "messages", "check"],
    "preferences": ["id", "prompt", "chosen", "rejected"],
    "ratings": ["id", "prompt", "answer", "good"],
}
_MANY = 200_000
"""Rows from which on starting more processes for a step pays; they cost some two seconds of work."""


@dataclass(frozen=True)
class Piece:
    """The rows of one split in one row group; the first of them is number ``first``. Travels without its rows.

    ``part`` says of which kind they are; preferences and ratings are all for training.
    ``kept`` says which are still in (None: all), ``changed`` has the turns of those that a step changed. All machines
    must see the file at the same path.
    """

    path: Path
    part: Part
    group: int
    split: Split
    first: int
    count: int
    kept: NDArray[np.bool_] | None
    changed: Mapping[int, tuple[Turn, ...]]

    def rows(self, only: Sequence[int] | None = None) -> Iterator[Row]:
        """Yield the rows that are still in, or ``only`` those with these numbers (in order), in or out."""
        with pq.ParquetFile(self.path) as file:
            table = file.read_row_group(self.group, columns=_READ[self.part])
        if self.part == "rows":
            table = table.filter(pc.equal(table["split"], self.split))
        if only is not None:
            table = table.take(pa.array([number - self.first for number in only]))
        numbers = only if only is not None else range(self.first, self.first + self.count)
        replies = 2 if self.part == "preferences" else 1
        for number, (id_, stored, checked, verdict) in zip(numbers, _unpacked(self.part, table), strict=True):
            if only is not None or self.kept is None or self.kept[number - self.first]:
                yield Row(number, id_, self.changed.get(number, stored), checked, replies, verdict)


class Spread(Protocol):
    """A way to work on pieces: results come in their order. Function, pieces and results travel between processes."""

    def __call__(self, function: Callable[[Piece], R], pieces: Sequence[Piece], /) -> Iterator[R]: ...  # noqa: D102


def here(function: Callable[[Piece], R], pieces: Sequence[Piece]) -> Iterator[R]:
    """Work on one piece after another on this machine, in all of its cores if there are many rows."""
    many = sum(piece.count for piece in pieces) >= _MANY
    return pool.ordered(function, pieces, limits.processes() if many else 1)


def of_rows(function: Callable[[Iterator[Row]], R]) -> Callable[[Piece], R]:
    """Return the function of a piece that hands its rows to ``function``."""
    return partial(_of_rows, function)


def of_each(function: Callable[[Row], Iterable[T]]) -> Callable[[Piece], list[T]]:
    """Return the function of a piece that lists what ``function`` gives for each of its rows."""
    return partial(_of_each, function)


def _of_rows(function: Callable[[Iterator[Row]], R], piece: Piece) -> R:
    return function(piece.rows())


def _of_each(function: Callable[[Row], Iterable[T]], piece: Piece) -> list[T]:
    return [one for row in piece.rows() for one in function(row)]


def _unpacked(part: Part, table: pa.Table) -> Iterator[tuple[str, tuple[Turn, ...], bool, str]]:
    """Yield id, turns (the answers at the end), whether there is a check, and the verdict of a rating."""
    ids, no = table["id"].to_pylist(), [""] * len(table)
    if part == "rows":
        yield from zip(ids, _turns(table["messages"]), table["check"].is_valid().to_pylist(), no, strict=True)
        return
    names = ("answer",) if part == "ratings" else ("chosen", "rejected")
    answers = zip(*(table[name].to_pylist() for name in names), strict=True)
    verdicts = ["good" if good else "bad" for good in table["good"].to_pylist()] if part == "ratings" else no
    for id_, turns, said, verdict in zip(ids, _turns(table["prompt"]), answers, verdicts, strict=True):
        yield id_, (*turns, *(Turn("assistant", text) for text in said)), False, verdict


def _turns(column: pa.ChunkedArray) -> Iterator[tuple[Turn, ...]]:
    """Yield the turns of each row: the columns are read flat, far faster than as dicts."""
    lists = column.combine_chunks()
    flat = lists.flatten()
    ends = [0, *np.cumsum(np.asarray(pc.list_value_length(lists))).tolist()]
    columns = [_texts(flat, name) for name in ("role", "content", "tool_calls", "tools")]
    turns = [Turn(*said) for said in zip(*columns, strict=True)]
    return (tuple(turns[start:end]) for start, end in pairwise(ends))


def _texts(turns: pa.StructArray, name: str) -> list[str]:
    """Return one field of all turns, "" where it is null; older datasets lack those of tools."""
    at = turns.type.get_field_index(name)
    if at < 0 or (column := turns.field(at)).null_count == len(column):
        return [""] * len(turns)
    return [text or "" for text in column.to_pylist()] if column.null_count else column.to_pylist()
