"""A row as a model sees it: the rendered text in pieces, supervised or not, and the tokens counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from honed.records import Conversation, Split
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
        for side, answer in (("chosen", pair.chosen), ("rejected", pair.rejected)):
            yield _told(pair.row(answer), side)
    for rating in datasets.ratings(dataset, count):
        yield _told(rating.row(), "good" if rating.good else "bad")


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
