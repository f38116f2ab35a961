"""Datasets: ``rows.parquet`` + manifest. Reading and writing ``Conversation`` rows, each in its split."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from honed.errors import StoreError
from honed.records import Check, Conversation, Message, Split
from honed.store import artifacts
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace

ROWS = "rows.parquet"
_CHUNK = 4096

_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("split", pa.string()),
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string()), ("weight", pa.float32())]))),
        ("tags", pa.string()),
        ("check", pa.string()),
    ]
)


def write(
    workspace: Workspace,
    name: str,
    rows: Iterable[tuple[Conversation, Split]],
    *,
    config: Mapping[str, Any],
    facts: Mapping[str, Any],
    files: Sequence[Path] = (),
) -> Artifact:
    """Write the rows, streamed in chunks, as the next version of ``name`` (or return an equal newest version).

    ``facts`` is what the importer counted; ``train`` and ``heldout`` row counts are added to it. ``files`` are copied
    beside the rows. Both are read once the rows are exhausted, so that they may be filled while these stream by.
    """
    with artifacts.draft(workspace, "datasets", name) as scratch:
        counts = {"train": 0, "heldout": 0}
        with pq.ParquetWriter(scratch / ROWS, _SCHEMA, compression="zstd") as writer:
            chunk: list[dict[str, Any]] = []
            for row, split in rows:
                counts[split] += 1
                chunk.append(_plain(row, split))
                if len(chunk) == _CHUNK:
                    writer.write_table(pa.Table.from_pylist(chunk, _SCHEMA))
                    chunk = []
            writer.write_table(pa.Table.from_pylist(chunk, _SCHEMA))
        for path in files:
            shutil.copyfile(path, scratch / path.name)
        return artifacts.publish(scratch, "datasets", parents={}, config=config, facts={**counts, **facts})


def rows(dataset: Artifact, split: Split, limit: int | None = None) -> Iterator[Conversation]:
    """Yield the rows of a split in their stored order, ``limit`` at most, in bounded memory."""
    left = limit
    path: Path = dataset.path / ROWS
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path}: missing or damaged", "Import the data again.") from error
    with file:
        for batch in file.iter_batches(_CHUNK):
            for plain in batch.to_pylist():
                if plain["split"] != split:
                    continue
                if left is not None:
                    if left == 0:
                        return
                    left -= 1
                yield _row(plain)


def _plain(row: Conversation, split: Split) -> dict[str, Any]:
    return {
        "id": row.id,
        "split": split,
        "messages": [message.model_dump() for message in row.messages],
        "tags": orjson.dumps(dict(row.tags), option=orjson.OPT_SORT_KEYS).decode(),
        "check": row.check.model_dump_json() if row.check else None,
    }


def _row(plain: Mapping[str, Any]) -> Conversation:
    return Conversation(
        messages=tuple(Message(**message) for message in plain["messages"]),
        tags=orjson.loads(plain["tags"]),
        check=Check.model_validate_json(plain["check"]) if plain["check"] else None,
    )
