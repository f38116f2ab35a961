"""What is learned from, as token ids, and what can't be: named, counted, listed, never cut or dropped silently."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from honed.errors import DataError
from honed.jobs.job import Job
from honed.models.chat import ChatFormat, Encoded, Unusable
from honed.records import Conversation, Preference, Rating
from honed.store.artifacts import Artifact
from honed.train.prefixes import Example

E = TypeVar("E", bound=Example)
R = TypeVar("R", Conversation, Preference, Rating)


@dataclass(frozen=True)
class Rows(Generic[E]):
    """Examples as token ids, with their content ids; ``left_out`` says why each of the others can't be used.

    ``unit`` is the word for several of them.
    """

    encoded: tuple[E, ...]
    names: tuple[str, ...]
    left_out: tuple[dict[str, str], ...]
    unit: str = "rows"

    @property
    def lengths(self) -> list[int]:
        """Tokens of each example, all its rows together."""
        return [sum(len(row.ids) for row in example.rows) for example in self.encoded]


def encode(rows: Iterable[Conversation], chat: ChatFormat, limit: int) -> Rows[Encoded]:
    """Turn rows into ids; those that can't be trained on, or are longer than ``limit`` tokens, are set aside, named."""
    return collect(rows, lambda row: encode_row(row, chat, limit), "rows")


def encode_row(row: Conversation, chat: ChatFormat, limit: int) -> Encoded:
    """Return a row's ids and loss weights. Raises ``Unusable`` as ``ChatFormat.encode``, or if it is too long."""
    encoded = chat.encode(row)
    if len(encoded.ids) > limit:
        raise Unusable("too long", f"{len(encoded.ids)} tokens, and at most {limit} fit", "Raise max_length.")
    return encoded


def collect(records: Iterable[R], encode_one: Callable[[R], E], unit: str) -> Rows[E]:
    """Encode every record; those for which ``encode_one`` raises ``Unusable`` are set aside, named."""
    encoded: list[E] = []
    names: list[str] = []
    left_out: list[dict[str, str]] = []
    for record in records:
        try:
            encoded.append(encode_one(record))
        except Unusable as error:
            left_out.append({"row": record.id, "kind": error.kind, "message": error.message})
            continue
        names.append(record.id)
    return Rows(tuple(encoded), tuple(names), tuple(left_out), unit)


def report_left_out(job: Job, rows: Rows[E], dataset: Artifact) -> None:
    """List the rows that were set aside in ``left_out.jsonl`` and say so; ``DataError`` if no row remains."""
    path = job.path / "left_out.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows.left_out))
    first = rows.left_out[0] if rows.left_out else None
    if not rows.encoded:
        why = f"; row {first['row']}: {first['message']}" if first else ""
        raise DataError(
            f"{dataset.ref}: none of its {len(rows.left_out)} training {rows.unit} can be used{why}",
            f"See {path}, and: honed data show {dataset.ref}" if first else "Import more rows, or hold out fewer.",
        )
    if first:
        kinds = sorted({one["kind"] for one in rows.left_out})
        counts = ", ".join(f"{sum(o['kind'] == kind for o in rows.left_out)} {kind}" for kind in kinds)
        job.log.note(f"{len(rows.left_out)} {rows.unit} are left out ({counts}); each is listed in {path}")
