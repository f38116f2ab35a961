"""The rows of a dataset while a recipe is at work: read anew for each pass, without those that were dropped."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from honed.data.curate.pieces import Piece, Spread, here
from honed.data.curate.row import Row, Turn
from honed.records import Conversation, Split, ToolCall
from honed.store import columns, datasets
from honed.store.artifacts import Artifact
from honed.store.columns import Part
from honed.store.datasets import ROWS, Draft, Shard

R = TypeVar("R")

_BATCH = 4096


class View:
    """Training rows by number. Memory: a byte a row, the reasons of those dropped, the words of those changed."""

    def __init__(
        self, dataset: Artifact, tick: Callable[[int], None] = lambda _rows: None, spread: Spread = here
    ) -> None:
        self.dataset = dataset
        self.dropped: dict[int, tuple[str, str, tuple[Turn, ...]]] = {}
        """Kind, reason, and the words to be listed with (none: its own) of each row that is out."""
        self.changed: dict[int, tuple[Turn, ...]] = {}
        self._tick, self._spread = tick, spread
        self._shards: dict[Split, list[Shard]] = {}
        self._kept = np.ones(int(dataset.manifest.facts["train"]), bool)

    @property
    def size(self) -> int:
        """How many rows are still in."""
        return int(self._kept.sum())

    def drop(self, number: int, kind: str, reason: str, turns: tuple[Turn, ...] = ()) -> None:
        """Leave a row out from now on."""
        if self._kept[number]:
            self._kept[number] = False
            self.dropped[number] = (kind, reason, turns)

    def rows(self) -> Iterator[Row]:
        """Yield the training rows that are still in, in their order, with their words as they are by now."""
        return self._all("train")

    def heldout(self) -> Iterator[Row]:
        """Yield the held-out rows; they are never changed."""
        return self._all("heldout")

    def mapped(self, function: Callable[[Piece], R], split: Split = "train") -> Iterator[R]:
        """Yield ``function(piece)`` for all rows that are still in, in order, worked out wherever there is room."""
        pieces = list(self._pieces(split))
        for piece, result in zip(pieces, self._spread(function, pieces), strict=True):
            self._tick(piece.count)
            yield result

    def take(self, numbers: Collection[int]) -> dict[int, Row]:
        """Return some training rows by their numbers; only the row groups that hold them are read."""
        wanted = np.sort(np.fromiter(numbers, np.int64, len(numbers)))
        taken: dict[int, Row] = {}
        for piece in self._pieces("train") if len(wanted) else ():
            start, end = np.searchsorted(wanted, [piece.first, piece.first + piece.count])
            if start < end:
                taken.update((row.number, row) for row in piece.rows(wanted[start:end].tolist()))
                self._tick(0)
        return taken

    def _all(self, split: Split) -> Iterator[Row]:
        for piece in self._pieces(split):
            yield from piece.rows()
            self._tick(piece.count)

    def _pieces(self, split: Split) -> Iterator[Piece]:
        if split not in self._shards:
            self._shards[split] = datasets.shards(self.dataset, split)
        changed = sorted(self.changed) if split == "train" else []
        first = 0
        for shard in self._shards[split]:
            end = first + shard.count
            some = changed[bisect_left(changed, first) : bisect_left(changed, end)]
            kept = self._kept[first:end] if split == "train" else None
            new = {number: self.changed[number] for number in some}
            yield Piece(self.dataset.path / ROWS, shard.group, split, first, shard.count, kept, new)
            first = end

    def _tables(self) -> Iterator[pa.Table]:
        with pq.ParquetFile(self.dataset.path / ROWS) as file:
            for batch in file.iter_batches(_BATCH):
                yield columns.fitted("rows", pa.Table.from_batches([batch]))

    def write(self, draft: Draft, leave: Callable[[int, Any], None]) -> None:
        """Write what is left into ``draft``, held-out rows as they were; ``leave(number, record)`` gets the others."""
        number = 0
        for table in self._tables():
            train = np.asarray(pc.equal(table["split"], "train"))
            numbers = np.where(train, number + np.cumsum(train) - 1, -1)
            number += int(train.sum())
            out = [at for at, one in enumerate(numbers) if one >= 0 and not self._kept[one]]
            for at in out:
                leave(int(numbers[at]), columns.at("rows", table, at))
            new = [at for at, one in enumerate(numbers) if int(one) in self.changed and self._kept[one]]
            kept = np.ones(len(table), bool)
            kept[out] = False
            draft.add("rows", self._renewed(table, numbers, new).filter(pa.array(kept)))

    def _renewed(self, table: pa.Table, numbers: Any, new: list[int]) -> pa.Table:
        """Return the table with the rows at the places ``new`` written anew."""
        if not new:
            return table
        pieces = []
        for before, at in pairwise([-1, *new]):
            row = columns.at("rows", table, at)
            assert isinstance(row, Conversation)
            pieces.append(table.slice(before + 1, at - before - 1))
            pieces.append(columns.table("rows", [rewritten(row, self.changed[int(numbers[at])])], ["train"]))
        schema = columns.SCHEMAS["rows"]
        return pa.concat_tables(
            [piece.select(schema.names).cast(schema) for piece in [*pieces, table.slice(new[-1] + 1)]]
        )


def rewritten(row: Conversation, turns: tuple[Turn, ...]) -> Conversation:
    """Return the row with the words of ``turns``; all else of it stays."""
    messages = []
    for message, turn in zip(row.messages, turns, strict=True):
        calls = tuple(ToolCall(**call) for call in orjson.loads(turn.calls)) if turn.calls else ()
        messages.append(message.model_copy(update={"content": turn.content, "tool_calls": calls}))
    return row.model_copy(update={"messages": tuple(messages)})


def records(view: View) -> Iterator[tuple[int, Conversation]]:
    """Yield number and record of the training rows that are still in, with their words as they are by now."""
    numbers = iter(view.rows())
    following = next(numbers, None)
    for number, record in enumerate(datasets.rows(view.dataset, "train")):
        if following is not None and number == following.number:
            yield number, rewritten(record, following.turns)
            following = next(numbers, None)


def copied(dataset: Artifact, part: Part, file: str, draft: Draft) -> int:
    """Copy records that recipes don't touch (preferences, ratings) as they are; return how many there are."""
    path = dataset.path / file
    if not path.exists():
        return 0
    count = 0
    with pq.ParquetFile(path) as source:
        for batch in source.iter_batches(_BATCH):
            draft.add(part, columns.fitted(part, pa.Table.from_batches([batch])))
            count += len(batch)
    return count
