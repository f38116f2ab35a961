"""Rows in pieces, read where they are worked on: in this process, in several, or on the machines of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from honed.data.curate.row import Row, Turn
from honed.jobs import pool
from honed.records import Split

T = TypeVar("T")
R = TypeVar("R")

READ = ["id", "split", "messages", "check"]
_MANY = 200_000
"""Rows from which on starting more processes for a step pays; they cost some two seconds of work."""


@dataclass(frozen=True)
class Piece:
    """The rows of one split in one row group; the first of them is number ``first``. Travels without its rows.

    ``kept`` says which are still in (None: all), ``changed`` has the turns of those that a step changed. All machines
    must see the file at the same path.
    """

    path: Path
    group: int
    split: Split
    first: int
    count: int
    kept: NDArray[np.bool_] | None
    changed: Mapping[int, tuple[Turn, ...]]

    def rows(self, only: Sequence[int] | None = None) -> Iterator[Row]:
        """Yield the rows that are still in, or ``only`` those with these numbers (in order), in or out."""
        with pq.ParquetFile(self.path) as file:
            table = file.read_row_group(self.group, columns=READ)
        table = table.filter(pc.equal(table["split"], self.split))
        if only is not None:
            table = table.take(pa.array([number - self.first for number in only]))
        numbers = only if only is not None else range(self.first, self.first + self.count)
        for number, (id_, stored, checked, tools) in zip(numbers, unpacked(table), strict=True):
            if only is not None or self.kept is None or self.kept[number - self.first]:
                yield Row(number, id_, self.changed.get(number, stored), checked, tools)


class Spread(Protocol):
    """A way to work on pieces: results come in their order. Function, pieces and results travel between processes."""

    def __call__(self, function: Callable[[Piece], R], pieces: Sequence[Piece], /) -> Iterator[R]: ...  # noqa: D102


def here(function: Callable[[Piece], R], pieces: Sequence[Piece]) -> Iterator[R]:
    """Work on one piece after another on this machine, in all of its cores if there are many rows."""
    many = sum(piece.count for piece in pieces) >= _MANY
    return pool.ordered(function, pieces, pool.cores() if many else 1)


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


def unpacked(table: pa.Table) -> Iterator[tuple[str, tuple[Turn, ...], bool, str]]:
    """Yield id, turns, whether there is a check, and tools: the columns are read flat, far faster than as dicts."""
    lists = table["messages"].combine_chunks()
    flat = lists.flatten()
    ends = [0, *np.cumsum(np.asarray(pc.list_value_length(lists))).tolist()]
    names = [field.name for field in flat.type]
    roles, contents = (flat.field(names.index(name)).to_pylist() for name in ("role", "content"))
    calls: list[Any] = [None] * len(flat)
    if "tool_calls" in names:
        calls = flat.field(names.index("tool_calls")).to_pylist()
    turns = [Turn(role, content, call or "") for role, content, call in zip(roles, contents, calls, strict=True)]
    checks = table["check"].is_valid().to_pylist()
    tools = _tools(flat, ends[:-1])
    for id_, (start, end), check, some in zip(table["id"].to_pylist(), pairwise(ends), checks, tools, strict=True):
        yield id_, tuple(turns[start:end]), check, some


def _tools(turns: pa.StructArray, first: Sequence[int]) -> Sequence[str]:
    """Return the tools of each row, which the ``first`` of its turns brings."""
    at = turns.type.get_field_index("tools")
    if at < 0 or (column := turns.field(at)).null_count == len(column):
        return [""] * len(first)
    return [some or "" for some in column.take(pa.array(first, pa.int64())).to_pylist()]
