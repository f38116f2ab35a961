"""The rows of a dataset while a recipe is at work: read anew for each pass, without those that were dropped."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from honed.data.curate.row import Row, Turn
from honed.records import Conversation, Split, ToolCall
from honed.store import columns, datasets
from honed.store.artifacts import Artifact
from honed.store.columns import Part
from honed.store.datasets import ROWS, Draft

_READ = ["id", "split", "messages", "check"]
_BATCH = 4096


class View:
    """Training rows by number. Memory: a byte a row, the reasons of those dropped, the words of those changed."""

    def __init__(self, dataset: Artifact, tick: Callable[[int], None] = lambda _rows: None) -> None:
        self.dataset = dataset
        self.dropped: dict[int, tuple[str, str, tuple[Turn, ...]]] = {}
        """Kind, reason, and the words to be listed with (none: its own) of each row that is out."""
        self.changed: dict[int, tuple[Turn, ...]] = {}
        self._tick = tick
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
        yield from (row for row in self._all("train") if self._kept[row.number])

    def heldout(self) -> Iterator[Row]:
        """Yield the held-out rows; they are never changed."""
        return self._all("heldout")

    def take(self, numbers: Collection[int]) -> dict[int, Row]:
        """Return some training rows by their numbers, in one pass."""
        return {row.number: row for row in self._all("train") if row.number in numbers} if numbers else {}

    def _all(self, split: Split) -> Iterator[Row]:
        number = 0
        for table in self._tables(_READ):
            here = table.filter(pc.equal(table["split"], split))
            for id_, stored, checked in _unpacked(here):
                turns = self.changed.get(number, stored) if split == "train" else stored
                yield Row(number, id_, turns, checked)
                number += 1
            self._tick(len(table))

    def _tables(self, names: list[str] | None = None) -> Iterator[pa.Table]:
        with pq.ParquetFile(self.dataset.path / ROWS) as file:
            for batch in file.iter_batches(_BATCH, columns=names):
                table = pa.Table.from_batches([batch])
                yield table if names else columns.fitted("rows", table)

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


def _unpacked(table: pa.Table) -> Iterator[tuple[str, tuple[Turn, ...], bool]]:
    """Yield id, turns and whether there is a check: the columns are read flat, several times faster than as dicts."""
    lists = table["messages"].combine_chunks()
    flat = lists.flatten()
    ends = [0, *np.cumsum(np.asarray(pc.list_value_length(lists))).tolist()]
    names = [field.name for field in flat.type]
    roles, contents = (flat.field(names.index(name)).to_pylist() for name in ("role", "content"))
    calls = flat.field(names.index("tool_calls")).to_pylist() if "tool_calls" in names else [None] * len(flat)
    turns = [Turn(role, content, call or "") for role, content, call in zip(roles, contents, calls, strict=True)]
    checks = table["check"].is_valid().to_pylist()
    for id_, (start, end), check in zip(table["id"].to_pylist(), pairwise(ends), checks, strict=True):
        yield id_, tuple(turns[start:end]), check
