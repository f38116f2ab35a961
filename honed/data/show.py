"""A row as a model sees it: the rendered text in pieces, supervised or not, and the tokens counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from honed.errors import DataError
from honed.records import Conversation, Preference, Rating, Split
from honed.store import datasets
from honed.store.artifacts import Artifact

if TYPE_CHECKING:
    from honed.models.chat import ChatFormat, Encoded


@dataclass(frozen=True)
class Seen:
    """A row through a model's eyes. ``problem``: why it can't be trained on; it then has no pieces."""

    row: Conversation
    pieces: tuple[tuple[str, bool], ...] = ()
    tokens: int = 0
    supervised: int = 0
    stops: tuple[str, ...] = ()
    problem: str = ""

    def heading(self) -> str:
        """Return a line of what there is to know of the row before its text."""
        tags = "".join(f"  {name}={text}" for name, text in self.row.tags.items())
        if self.problem:
            return f"── {self.row.id}{tags}  can't be trained on: {self.problem}"
        stops = " ".join(self.stops)
        return f"── {self.row.id}{tags}  {self.tokens:,} tokens, {self.supervised:,} supervised, stop {stops}"

    def plain(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return {
            "id": self.row.id,
            "tags": dict(self.row.tags),
            "tokens": self.tokens,
            "supervised": self.supervised,
            "stops": list(self.stops),
            "pieces": [{"text": text, "supervised": supervised} for text, supervised in self.pieces],
            "problem": self.problem,
        }


def conversations(dataset: Artifact, split: Split, count: int) -> Iterator[Conversation]:
    """Yield the first rows of a split; without training rows, both sides of preferences, then rated answers.

    The tag ``answer`` says which they are.
    """
    rows = list(datasets.rows(dataset, split, count))
    yield from rows
    if rows or split == "heldout":
        return
    for pair in datasets.preferences(dataset, count):
        yield from _answered(pair)
    for rating in datasets.ratings(dataset, count):
        yield from _answered(rating)


def named(dataset: Artifact, start: str) -> list[Conversation]:
    """Return the row, in whichever split, or the answers of the preference or rating, whose id begins with ``start``.

    Raises ``DataError`` if nothing has such an id, or more than one.
    """
    found: dict[str, Conversation | Preference | Rating] = {}
    for record in datasets.beginning(dataset, start):
        found.setdefault(record.id, record)
        if len(found) > 1:
            raise DataError(f"{dataset.ref}: {' and '.join(found)} both begin with {start!r}", "Give more of the id.")
    if not found:
        where = "A training lists those that it can't use in its folder, in left_out.jsonl; honed data show prints ids."
        raise DataError(f"{dataset.ref} has no row whose id begins with {start!r}", where)
    return [row for record in found.values() for row in _answered(record)]


def _answered(record: Conversation | Preference | Rating) -> list[Conversation]:
    """A record as rows: itself, or its prompt with each of its answers, told by the tag ``answer``."""
    if isinstance(record, Preference):
        return [_told(record.row(record.chosen), "chosen"), _told(record.row(record.rejected), "rejected")]
    if isinstance(record, Rating):
        return [_told(record.row(), "good" if record.good else "bad")]
    return [record]


def _told(row: Conversation, answer: str) -> Conversation:
    return row.model_copy(update={"tags": {**row.tags, "answer": answer}})


def seen(row: Conversation, chat: ChatFormat) -> list[Seen]:
    """Return the row as the model of ``chat`` sees it; a row that it can't be trained on comes with the reason.

    Answers that the template writes otherwise once turns follow come once more, as they are learned.
    """
    from honed.models.chat import Unusable

    try:
        encoded = chat.encode(row)
    except Unusable as error:
        return [Seen(row, problem=error.message)]
    return [_seen(row, one, chat) for one in encoded.rows]


def _seen(row: Conversation, encoded: Encoded, chat: ChatFormat) -> Seen:
    tokens = list(zip(encoded.ids, (weight > 0 for weight in encoded.weights), strict=True))
    pieces = tuple(
        (chat.decode([token for token, _ in run], special=True), supervised)
        for supervised, run in groupby(tokens, key=lambda token: token[1])
    )
    stops = sorted({token for token, supervised in tokens if supervised and token in chat.stop_ids})
    shown = tuple(f"{chat.decode([stop], special=True)} ({stop})" for stop in stops)
    return Seen(row, pieces, len(tokens), encoded.supervised, shown)
