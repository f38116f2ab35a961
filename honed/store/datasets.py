"""Datasets: ``rows.parquet`` + manifest. Reading and writing ``Conversation`` rows, each in its split.

A dataset may also have ``preferences.parquet`` and ``ratings.parquet``; they are trained on, never held out, so they
have no split.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from heapq import nsmallest
from itertools import groupby, islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from honed.errors import StoreError
from honed.records import Conversation, Preference, Rating, Split, digest
from honed.segments import Rule
from honed.store import artifacts, columns
from honed.store.artifacts import Artifact
from honed.store.columns import SCHEMAS, Part
from honed.store.counts import Counts
from honed.store.workspace import Workspace

ROWS = "rows.parquet"
PREFERENCES = "preferences.parquet"
RATINGS = "ratings.parquet"
FILES: Mapping[Part, str] = {"rows": ROWS, "preferences": PREFERENCES, "ratings": RATINGS}
_CHUNK = 4096
"""Rows in a row group, at most."""
_CHUNK_BYTES = 1 << 24
"""Bytes of a row group, about, at most: whoever reads one holds that much, however long the rows are."""

T = TypeVar("T")


class Draft:
    """A dataset that is being written, streamed: tables of records in, an artifact out."""

    def __init__(self, scratch: Path, open_files: ExitStack, rules: Sequence[Rule] = ()) -> None:
        self.counts: Counter[str] = Counter(train=0, heldout=0)
        """How many rows of each split, preferences and ratings were added."""
        self._scratch, self._open = scratch, open_files
        self._tags = Counts(rules)
        self._writers: dict[Part, Any] = {}
        self._weights: Mapping[str, Sequence[float]] = {}
        self.add("rows", SCHEMAS["rows"].empty_table())

    def add(self, part: Part, table: pa.Table) -> None:
        """Append records (``columns.table``); rows have their split by now."""
        if part not in self._writers:
            writer = pq.ParquetWriter(self._scratch / FILES[part], SCHEMAS[part], compression="zstd")
            self._writers[part] = self._open.enter_context(writer)
        if not len(table):
            return
        if part == "rows":
            for one in table.column("split").value_counts().to_pylist():
                self.counts[one["values"]] += one["counts"]
            self._tags.add(table)
        else:
            self.counts[part] += table.num_rows
        fitting = max(1, len(table) * _CHUNK_BYTES // max(1, table.nbytes))
        self._writers[part].write_table(table, row_group_size=min(_CHUNK, fitting))

    def weigh(self, weights: Mapping[str, Sequence[float]]) -> None:
        """Say by their ids what the turns of rows weigh at least, that were added already."""
        self._weights = weights

    def publish(
        self,
        *,
        config: Mapping[str, Any],
        facts: Mapping[str, Any],
        files: Sequence[Path] = (),
        parents: Mapping[str, str] | None = None,
    ) -> Artifact:
        """Close the files, copy ``files`` beside them, and return the next version (or an equal newest one).

        The counts, also by tag, are added to ``facts``; ``parents`` maps the refs of the datasets it was made of to
        their hashes.
        """
        self._open.close()
        if self._weights:
            _weigh(self._scratch / ROWS, self._weights)
        for path in files:
            shutil.copyfile(path, self._scratch / path.name)
        facts = {**self.counts, **self._tags.facts(), **facts}
        return artifacts.publish(self._scratch, "datasets", parents=parents or {}, config=config, facts=facts)


def _weigh(path: Path, weights: Mapping[str, Sequence[float]]) -> None:
    """Write a file of rows anew, one row group after another, with some turns weighing more."""
    new = path.with_suffix(".weighed")
    with pq.ParquetFile(path) as old, pq.ParquetWriter(new, SCHEMAS["rows"], compression="zstd") as writer:
        for group in range(old.num_row_groups):
            writer.write_table(columns.weighed(old.read_row_group(group), weights))
    new.replace(path)


@contextmanager
def drafting(workspace: Workspace, name: str, rules: Sequence[Rule] = ()) -> Iterator[Draft]:
    """Yield a draft of the next version of ``name``; nothing stays unless it is published.

    Its rows are counted by the segments of ``rules`` too.
    """
    with artifacts.draft(workspace, "datasets", name) as scratch, ExitStack() as open_files:
        yield Draft(scratch, open_files, rules)


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
    with drafting(workspace, name) as draft:
        stream = iter(rows)
        while chunk := list(islice(stream, _CHUNK)):
            draft.add("rows", columns.table("rows", [row for row, _ in chunk], [split for _, split in chunk]))
        if preferences:
            draft.add("preferences", columns.table("preferences", preferences))
        if ratings:
            draft.add("ratings", columns.table("ratings", ratings))
        return draft.publish(config=config, facts=facts, files=files, parents=parents)


@dataclass(frozen=True, order=True)
class Shard:
    """Some neighbouring rows of a split: ``count`` of those in row group ``group``, from the ``start``-th on."""

    group: int
    start: int
    count: int


def shards(
    dataset: Artifact, split: Split, size: int = _CHUNK, limit: int | None = None, *, part: Part = "rows"
) -> list[Shard]:
    """Return where a split's rows lie, in their stored order: ``size`` of them in a shard, ``limit`` in all, at most.

    Only the column ``split`` is read, so that the rows of a large dataset are counted, exactly, in a moment. Other
    parts have no split: all of theirs are trained on; none of them if the dataset hasn't that part.
    """
    found: list[Shard] = []
    left = limit
    path = dataset.path / FILES[part]
    if part != "rows" and not path.exists():
        return found
    with _opened(path) as file:
        for group in range(file.num_row_groups):
            if part == "rows":
                column = file.read_row_group(group, ["split"])["split"]
                here = pc.sum(pc.equal(column, split)).as_py() or 0
            else:
                here = file.metadata.row_group(group).num_rows
            if left is not None:
                here = min(here, left)
                left -= here
            found += [Shard(group, start, min(size, here - start)) for start in range(0, here, size)]
    return found


def read(dataset: Artifact, split: Split, wanted: Iterable[Shard]) -> Iterator[Conversation]:
    """Yield the rows of ``wanted`` shards, one shard after another; no more than one row group is held at a time.

    Neighbouring shards of one row group cost one reading of it.
    """
    for row in _read(dataset, "rows", split, wanted):
        assert isinstance(row, Conversation)
        yield row


def training(dataset: Artifact, part: Part, wanted: Iterable[Shard]) -> Iterator[Any]:
    """Yield what is trained on in ``wanted`` shards of a part, as ``read`` does: rows, preferences or ratings."""
    return _read(dataset, part, "train", wanted)


def _read(dataset: Artifact, part: Part, split: Split, wanted: Iterable[Shard]) -> Iterator[Any]:
    with _opened(dataset.path / FILES[part]) as file:
        for group, here in groupby(wanted, key=lambda shard: shard.group):
            table = file.read_row_group(group)
            if part == "rows":
                table = table.filter(pc.equal(table["split"], split))
            for shard in here:
                for plain in table.slice(shard.start, shard.count).to_pylist():
                    yield columns.record(part, plain)


def rows(dataset: Artifact, split: Split, limit: int | None = None) -> Iterator[Conversation]:
    """Yield the rows of a split in their stored order, ``limit`` at most, in bounded memory."""
    return read(dataset, split, shards(dataset, split, limit=limit))


def spread(records: Iterable[tuple[str, T]], count: int, seed: int) -> list[T]:
    """Return ``count`` of the records, each given behind its id: from all over, whatever their order, as hashes fall.

    The choice depends on the seed and on ids only, and a smaller one is part of it. No more than ``count`` are held.
    """
    return [one for _, one in nsmallest(count, records, key=lambda pair: digest([seed, pair[0]]))]


def sampled(dataset: Artifact, split: Split, count: int, seed: int) -> list[Shard]:
    """Return where ``count`` rows of a split lie (all if it has no more), chosen by ``spread``, in their stored order.

    A row that repeats counts once. Nothing but ids is read of them.
    """
    seen: set[str] = set()

    def each() -> Iterator[tuple[str, Shard]]:
        with _opened(dataset.path / ROWS) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, ["id", "split"])
                ids = table.filter(pc.equal(table["split"], split))["id"].to_pylist()
                for place, id_ in enumerate(ids):
                    if id_ not in seen:
                        seen.add(id_)
                        yield id_, Shard(group, place, 1)

    return sorted(spread(each(), count, seed))


def preferences(dataset: Artifact, limit: int | None = None) -> Iterator[Preference]:
    """Yield the preferences in their stored order, ``limit`` at most; none if the dataset has none."""
    for plain in islice(_lines(dataset, "preferences"), limit):
        pair = columns.record("preferences", plain)
        assert isinstance(pair, Preference)
        yield pair


def ratings(dataset: Artifact, limit: int | None = None) -> Iterator[Rating]:
    """Yield the ratings in their stored order, ``limit`` at most; none if the dataset has none."""
    for plain in islice(_lines(dataset, "ratings"), limit):
        rating = columns.record("ratings", plain)
        assert isinstance(rating, Rating)
        yield rating


def beginning(dataset: Artifact, start: str) -> Iterator[columns.Record]:
    """Yield the records of all parts, of both splits, whose id begins with ``start``."""
    for part in FILES:
        for table in tables(dataset, part):
            for plain in table.filter(pc.starts_with(table["id"], start)).to_pylist():
                yield columns.record(part, plain)


def ids(dataset: Artifact, part: Part) -> Iterator[str]:
    """Yield the ids of a dataset's records of one kind, in their stored order; nothing else of them is read."""
    for plain in _lines(dataset, part, ["id"]):
        yield plain["id"]


def traces(dataset: Artifact) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield part (``rows``, ``preferences`` or ``ratings``), id and events of each record that came from feedback.

    Nothing else of the records is read, so that a walk over every dataset is quick.
    """
    for part in FILES:
        for plain in _lines(dataset, part, ["id", "events"]):
            if plain.get("events"):
                yield part, plain["id"], tuple(plain["events"])


def groups(dataset: Artifact, part: Part) -> list[int]:
    """Return how many records each row group of a part has; none if the dataset has no such part."""
    path = dataset.path / FILES[part]
    if part != "rows" and not path.exists():
        return []
    with _opened(path) as file:
        return [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]


def tables(dataset: Artifact, part: Part) -> Iterator[pa.Table]:
    """Yield the records of a part as tables, in their stored order; none if the dataset has no such part."""
    path = dataset.path / FILES[part]
    if part != "rows" and not path.exists():
        return
    with _opened(path) as file:
        for batch in file.iter_batches(_CHUNK):
            yield columns.fitted(part, pa.Table.from_batches([batch]))


def tool_turns(dataset: Artifact) -> int:
    """Return how many turns of the rows, in both splits, define or call tools."""
    count = 0
    with _opened(dataset.path / ROWS) as file:
        for batch in file.iter_batches(_CHUNK, columns=["messages"]):
            turns = batch.column("messages").flatten()
            names = {"tools", "tool_calls"} & {field.name for field in turns.type}
            count += sum(len(turns) - turns.field(turns.type.get_field_index(name)).null_count for name in names)
    return count


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path}: missing or damaged", "Import the data again.") from error


def _lines(dataset: Artifact, part: Part, names: list[str] | None = None) -> Iterator[dict[str, Any]]:
    path = dataset.path / FILES[part]
    if part != "rows" and not path.exists():
        return
    with _opened(path) as file:
        for batch in file.iter_batches(_CHUNK, columns=names):
            yield from batch.to_pylist()
