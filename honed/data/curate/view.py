"""The rows of a dataset while a recipe is at work: read anew for each pass, without those that were dropped."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import accumulate, pairwise
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from honed.data.curate.pieces import Piece, Spread, here
from honed.data.curate.row import Row, Turn
from honed.records import Conversation, Message, Preference, Split, ToolCall
from honed.store import columns, datasets
from honed.store.artifacts import Artifact
from honed.store.columns import Part, Record
from honed.store.datasets import Draft

R = TypeVar("R")
Of = Literal["train", "heldout", "judged", "all"]
"""Training rows, held-out rows, preferences and ratings, or all but the held-out rows."""

PARTS: tuple[Part, ...] = get_args(Part)
_PARTS: Mapping[Of, tuple[Part, ...]] = {"judged": PARTS[1:], "all": PARTS}
_BATCH = 4096


class View:
    """What is trained on, by number: rows from 0 on, then preferences, then ratings, each a ``Row``.

    Memory: a byte a row, the reasons of those dropped, the words of those changed.
    """

    def __init__(
        self, dataset: Artifact, tick: Callable[[int], None] = lambda _rows: None, spread: Spread = here
    ) -> None:
        self.dataset = dataset
        self.dropped: dict[int, tuple[str, str, tuple[Turn, ...]]] = {}
        """Kind, reason, and the words to be listed with (none: its own) of each row that is out."""
        self.changed: dict[int, tuple[Turn, ...]] = {}
        self._tick, self._spread = tick, spread
        self._groups: dict[tuple[Part, Split], list[tuple[int, int]]] = {}
        facts = dataset.manifest.facts
        counts = (int(facts["train"]), *(int(facts.get(part, 0)) for part in PARTS[1:]))
        self._first = dict(zip(PARTS, accumulate(counts, initial=0), strict=False))
        self._kept = np.ones(sum(counts), bool)

    @property
    def size(self) -> int:
        """How many training rows are still in."""
        return self.sizes()["rows"]

    def sizes(self) -> dict[Part, int]:
        """Return how many rows, preferences and ratings are still in."""
        ends = [*list(self._first.values())[1:], len(self._kept)]
        return {part: int(self._kept[self._first[part] : end].sum()) for part, end in zip(PARTS, ends, strict=True)}

    def place(self, number: int) -> tuple[Part, int]:
        """Return of which kind the row of that number is, and its place among these, from 0."""
        part = next(part for part in reversed(PARTS) if number >= self._first[part])
        return part, number - self._first[part]

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

    def mapped(self, function: Callable[[Piece], R], of: Of = "train") -> Iterator[R]:
        """Yield ``function(piece)`` for all rows that are still in, in order, worked out wherever there is room."""
        pieces = list(self._pieces(of))
        for piece, result in zip(pieces, self._spread(function, pieces), strict=True):
            self._tick(piece.count)
            yield result

    def take(self, numbers: Collection[int]) -> dict[int, Row]:
        """Return some of what is trained on by numbers; only the row groups that hold them are read."""
        wanted = np.sort(np.fromiter(numbers, np.int64, len(numbers)))
        taken: dict[int, Row] = {}
        for piece in self._pieces("all") if len(wanted) else ():
            start, end = np.searchsorted(wanted, [piece.first, piece.first + piece.count])
            if start < end:
                taken.update((row.number, row) for row in piece.rows(wanted[start:end].tolist()))
                self._tick(0)
        return taken

    def _all(self, of: Of) -> Iterator[Row]:
        for piece in self._pieces(of):
            yield from piece.rows()
            self._tick(piece.count)

    def _pieces(self, of: Of) -> Iterator[Piece]:
        if of == "heldout":
            yield from self._of_part("rows", "heldout", 0)
            return
        for part in _PARTS.get(of, ("rows",)):
            yield from self._of_part(part, "train", self._first[part])

    def _of_part(self, part: Part, split: Split, first: int) -> Iterator[Piece]:
        if (part, split) not in self._groups:
            self._groups[part, split] = list(self._counted(part, split))
        changed = sorted(self.changed) if split == "train" else []
        for group, count in self._groups[part, split]:
            end = first + count
            some = changed[bisect_left(changed, first) : bisect_left(changed, end)]
            kept = self._kept[first:end] if split == "train" else None
            new = {number: self.changed[number] for number in some}
            yield Piece(self.dataset.path / datasets.FILES[part], part, group, split, first, count, kept, new)
            first = end

    def _counted(self, part: Part, split: Split) -> Iterator[tuple[int, int]]:
        """Yield row groups with their numbers of rows."""
        if part == "rows":
            yield from ((shard.group, shard.count) for shard in datasets.shards(self.dataset, split))
        else:
            yield from enumerate(datasets.groups(self.dataset, part))

    def write(self, draft: Draft, leave: Callable[[int, Any], None]) -> None:
        """Write what is left into ``draft``, held-out rows as they were; ``leave(number, record)`` gets the others."""
        for part in PARTS:
            number = self._first[part]
            for table in datasets.tables(self.dataset, part):
                train = np.asarray(pc.equal(table["split"], "train")) if part == "rows" else np.ones(len(table), bool)
                numbers = np.where(train, number + np.cumsum(train) - 1, -1)
                number += int(train.sum())
                out = [at for at, one in enumerate(numbers) if one >= 0 and not self._kept[one]]
                for at in out:
                    leave(int(numbers[at]), columns.at(part, table, at))
                new = [at for at, one in enumerate(numbers) if int(one) in self.changed and self._kept[one]]
                kept = np.ones(len(table), bool)
                kept[out] = False
                left = self._renewed(part, table, numbers, new).filter(pa.array(kept))
                if part == "rows" or len(left):
                    draft.add(part, left)

    def _renewed(self, part: Part, table: pa.Table, numbers: Any, new: list[int]) -> pa.Table:
        """Return the table with the rows at the places ``new`` written anew."""
        if not new:
            return table
        pieces = []
        splits = ["train"] if part == "rows" else None
        for before, at in pairwise([-1, *new]):
            row = rewritten(columns.at(part, table, at), self.changed[int(numbers[at])])
            pieces.append(table.slice(before + 1, at - before - 1))
            pieces.append(columns.table(part, [row], splits))
        schema = columns.SCHEMAS[part]
        return pa.concat_tables(
            [piece.select(schema.names).cast(schema) for piece in [*pieces, table.slice(new[-1] + 1)]]
        )


def rewritten(record: Record, turns: tuple[Turn, ...]) -> Record:
    """Return the record with the words of ``turns``; all else of it stays."""
    if isinstance(record, Conversation):
        return record.model_copy(update={"messages": _said(record.messages, turns)})
    answers = ("chosen", "rejected") if isinstance(record, Preference) else ("answer",)
    said = {name: turn.content for name, turn in zip(answers, turns[-len(answers) :], strict=True)}
    return record.model_copy(update={"prompt": _said(record.prompt, turns[: -len(answers)]), **said})


def _said(messages: tuple[Message, ...], turns: tuple[Turn, ...]) -> tuple[Message, ...]:
    said = []
    for message, turn in zip(messages, turns, strict=True):
        calls = tuple(ToolCall(**call) for call in orjson.loads(turn.calls)) if turn.calls else ()
        tools = tuple(orjson.loads(turn.tools)) if turn.tools else ()
        said.append(message.model_copy(update={"content": turn.content, "tool_calls": calls, "tools": tools}))
    return tuple(said)


def records(view: View) -> Iterator[tuple[int, Conversation]]:
    """Yield number and record of the training rows that are still in, with their words as they are by now."""
    numbers = iter(view.rows())
    following = next(numbers, None)
    for number, record in enumerate(datasets.rows(view.dataset, "train")):
        if following is not None and number == following.number:
            row = rewritten(record, following.turns)
            assert isinstance(row, Conversation)
            yield number, row
            following = next(numbers, None)
