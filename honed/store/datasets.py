"""Datasets: ``rows.parquet`` + manifest. Reading and writing ``Conversation`` rows, each in its split.

A dataset that was derived from feedback also has ``preferences.parquet`` and ``ratings.parquet``; they are trained on,
never held out, so they have no split.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from honed.errors import StoreError
from honed.records import Check, Conversation, Message, Preference, Rating, Split
from honed.store import artifacts
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace

ROWS = "rows.parquet"
PREFERENCES = "preferences.parquet"
RATINGS = "ratings.parquet"
_CHUNK = 4096

_TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string()), ("weight", pa.float32())]))
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("split", pa.string()),
        ("messages", _TURNS),
        ("tags", pa.string()),
        ("check", pa.string()),
        ("events", pa.list_(pa.string())),
    ]
)
_TRACED = [("id", pa.string()), ("prompt", _TURNS), ("tags", pa.string()), ("events", pa.list_(pa.string()))]
_PREFERENCES = pa.schema([*_TRACED, ("chosen", pa.string()), ("rejected", pa.string())])
_RATINGS = pa.schema([*_TRACED, ("answer", pa.string()), ("good", pa.bool_()), ("reason", pa.string())])


def write(  # noqa: PLR0913 - each is a part of the artifact
    workspace: Workspace,
    name: str,
    rows: Iterable[tuple[Conversation, Split]],
    *,
    config: Mapping[str, Any],
    facts: Mapping[str, Any],
    files: Sequence[Path] = (),
    preferences: Sequence[Preference] = (),
    ratings: Sequence[Rating] = (),
    parents: Mapping[str, str] | None = None,
) -> Artifact:
    """Write the rows, streamed in chunks, as the next version of ``name`` (or return an equal newest version).

    ``facts`` is what the importer counted; ``train`` and ``heldout`` row counts are added to it. ``files`` are copied
    beside the rows. Both are read once the rows are exhausted, so that they may be filled while these stream by.
    ``parents`` maps the refs of the datasets that this one was made of to their hashes.
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
        for file, schema, records in ((PREFERENCES, _PREFERENCES, preferences), (RATINGS, _RATINGS, ratings)):
            if records:
                table = pa.Table.from_pylist([_traced(record) for record in records], schema)
                pq.write_table(table, scratch / file, compression="zstd")
                counts[file.removesuffix(".parquet")] = len(records)
        for path in files:
            shutil.copyfile(path, scratch / path.name)
        return artifacts.publish(scratch, "datasets", parents=parents or {}, config=config, facts={**counts, **facts})


def rows(dataset: Artifact, split: Split, limit: int | None = None) -> Iterator[Conversation]:
    """Yield the rows of a split in their stored order, ``limit`` at most, in bounded memory."""
    left = limit
    for plain in _lines(dataset.path / ROWS):
        if plain["split"] != split:
            continue
        if left is not None:
            if left == 0:
                return
            left -= 1
        yield _row(plain)


def preferences(dataset: Artifact, limit: int | None = None) -> Iterator[Preference]:
    """Yield the preferences in their stored order, ``limit`` at most; none if the dataset has none."""
    if (dataset.path / PREFERENCES).exists():
        for plain in islice(_lines(dataset.path / PREFERENCES), limit):
            yield Preference(chosen=plain["chosen"], rejected=plain["rejected"], **_trace(plain))


def ratings(dataset: Artifact, limit: int | None = None) -> Iterator[Rating]:
    """Yield the ratings in their stored order, ``limit`` at most; none if the dataset has none."""
    if (dataset.path / RATINGS).exists():
        for plain in islice(_lines(dataset.path / RATINGS), limit):
            yield Rating(answer=plain["answer"], good=plain["good"], reason=plain["reason"], **_trace(plain))


def traces(dataset: Artifact) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield part (``rows``, ``preferences`` or ``ratings``), id and events of each record that came from feedback.

    Nothing else of the records is read, so that a walk over every dataset is quick.
    """
    for file in (ROWS, PREFERENCES, RATINGS):
        if file == ROWS or (dataset.path / file).exists():
            for plain in _lines(dataset.path / file, ["id", "events"]):
                if plain.get("events"):
                    yield file.removesuffix(".parquet"), plain["id"], tuple(plain["events"])


def _lines(path: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path}: missing or damaged", "Import the data again.") from error
    with file:
        for batch in file.iter_batches(_CHUNK, columns=columns):
            yield from batch.to_pylist()


def _plain(row: Conversation, split: Split) -> dict[str, Any]:
    return {
        "id": row.id,
        "split": split,
        "messages": [message.model_dump() for message in row.messages],
        "tags": orjson.dumps(dict(row.tags), option=orjson.OPT_SORT_KEYS).decode(),
        "check": row.check.model_dump_json() if row.check else None,
        "events": list(row.events),
    }


def _traced(record: Preference | Rating) -> dict[str, Any]:
    tags = orjson.dumps(dict(record.tags), option=orjson.OPT_SORT_KEYS).decode()
    return {**record.model_dump(), "id": record.id, "tags": tags}


def _trace(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "prompt": tuple(Message(**message) for message in plain["prompt"]),
        "tags": orjson.loads(plain["tags"]),
        "events": tuple(plain["events"]),
    }


def _row(plain: Mapping[str, Any]) -> Conversation:
    return Conversation(
        messages=tuple(Message(**message) for message in plain["messages"]),
        tags=orjson.loads(plain["tags"]),
        check=Check.model_validate_json(plain["check"]) if plain["check"] else None,
        events=tuple(plain.get("events") or ()),  # datasets of version 0.1 lack the column
    )
