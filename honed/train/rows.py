"""Training rows as token ids, and those that can't be used: named, counted, listed, never cut or dropped silently."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from honed.errors import DataError
from honed.jobs.job import Job
from honed.models.chat import ChatFormat, Encoded, Unusable
from honed.records import Conversation
from honed.store.artifacts import Artifact


@dataclass(frozen=True)
class Rows:
    """Rows as token ids, with their content ids; ``left_out`` says why each of the others can't be used."""

    encoded: tuple[Encoded, ...]
    names: tuple[str, ...]
    left_out: tuple[dict[str, str], ...]


def encode(rows: Iterable[Conversation], chat: ChatFormat, limit: int) -> Rows:
    """Turn rows into ids; those that can't be trained on, or are longer than ``limit`` tokens, are set aside, named."""
    encoded: list[Encoded] = []
    names: list[str] = []
    left_out: list[dict[str, str]] = []
    for row in rows:
        try:
            one = chat.encode(row)
            if len(one.ids) > limit:
                raise Unusable("too long", f"{len(one.ids)} tokens, and at most {limit} fit", "Raise max_length.")
        except Unusable as error:
            left_out.append({"row": row.id, "kind": error.kind, "message": error.message})
            continue
        encoded.append(one)
        names.append(row.id)
    return Rows(tuple(encoded), tuple(names), tuple(left_out))


def report_left_out(job: Job, rows: Rows, dataset: Artifact) -> None:
    """List the rows that were set aside in ``left_out.jsonl`` and say so; ``DataError`` if no row remains."""
    path = job.path / "left_out.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows.left_out))
    first = rows.left_out[0] if rows.left_out else None
    if not rows.encoded:
        why = f"; row {first['row']}: {first['message']}" if first else ""
        raise DataError(
            f"{dataset.ref}: none of its {len(rows.left_out)} training rows can be used{why}",
            f"See {path}, and: honed data show {dataset.ref}" if first else "Import more rows, or hold out fewer.",
        )
    if first:
        kinds = sorted({one["kind"] for one in rows.left_out})
        counts = ", ".join(f"{sum(o['kind'] == kind for o in rows.left_out)} {kind}" for kind in kinds)
        job.log.note(f"{len(rows.left_out)} rows are left out ({counts}); each is listed in {path}")
