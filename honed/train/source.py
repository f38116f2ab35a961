"""What a run learns from: examples in memory, or a stream of them where they wouldn't fit; which of both, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from honed.errors import ConfigError
from honed.jobs.job import Job
from honed.models.chat import ChatFormat
from honed.store import datasets
from honed.store.artifacts import Artifact
from honed.store.datasets import Shard
from honed.store.workspace import writing
from honed.train.config import TrainConfig
from honed.train.objectives.table import OBJECTIVES, Entry
from honed.train.prefixes import Example
from honed.train.rows import Rows, collect, left_out_list, listing, none_usable, report_left_out
from honed.train.stream import SHARD_ROWS

BYTES_PER_CHARACTER = 16
"""Memory of a row's text as token ids: about 48 bytes a token, and a token for every three characters."""

MEMORY_SHARE = 0.25
"""Share of the free memory that rows may take; the rest is the model's."""

WINDOW_TOKENS = 2_000_000
WINDOW_ROWS = 8192
WINDOW_STEPS = 16
"""A window holds so many tokens (100 MB of memory) or rows, whichever is less, but so many optimizer steps at least."""

_SAMPLE, _PIECE = 1024, 32

E = TypeVar("E", bound=Example)


@dataclass(frozen=True)
class Stream(Generic[E]):
    """Examples that are read when they are needed. ``sample`` are some from all over the dataset, the same every time.

    ``rows`` counts all, exactly and before any is found to be unusable.
    """

    shards: Sequence[Shard]
    read: Callable[[Sequence[Shard]], Rows[E]]
    sample: Rows[E]

    @property
    def rows(self) -> int:
        """Rows of the split, whether they can be used or not."""
        return sum(shard.count for shard in self.shards)

    @property
    def tokens(self) -> int:
        """Tokens of all rows, estimated from the sample."""
        seen = len(self.sample.encoded) + len(self.sample.left_out)
        return round(sum(self.sample.lengths) / seen * self.rows)

    def window_rows(self, wish: int | None, batch_tokens: int) -> int:
        """Return how many rows make up a window, about: ``wish``, or what memory and even steps ask for."""
        length = self.tokens / self.rows
        return wish or round(max(min(WINDOW_ROWS, WINDOW_TOKENS / length), WINDOW_STEPS * batch_tokens / length))


def find(
    config: TrainConfig, dataset: Artifact, chat: ChatFormat, limit: int, job: Job, memory: int
) -> tuple[Rows[Any] | Stream[Any], str]:
    """Return what ``config.objective`` learns from, and why it is streamed if that was chosen here.

    ``memory`` is what is free, in bytes; ``limit`` the tokens that a row may have. Raises ``DataError`` if no row can
    be used, ``ConfigError`` if a stream was asked for and the objective can't be streamed.
    """
    entry = OBJECTIVES[config.objective]
    streams, why = _choice(config, entry, dataset, memory)
    if streams:
        return _stream(config, entry, dataset, chat, limit, job), why
    rows = entry.read(dataset, chat, limit, config.rows)
    report_left_out(job, rows, dataset)
    return rows, why


def _choice(config: TrainConfig, entry: Entry, dataset: Artifact, memory: int) -> tuple[bool, str]:
    if entry.encode is None:
        if config.stream is True:
            raise ConfigError(
                f"stream: the examples of {config.objective} can't be streamed",
                "Set stream to false, and rows to as many as fit into memory.",
            )
        return False, ""
    if config.stream != "auto":
        return config.stream, ""
    pieces = datasets.shards(dataset, "train", _PIECE, config.rows)
    rows = sum(piece.count for piece in pieces)
    sample = [
        sum(len(message.content) for message in row.messages)
        for row in datasets.read(dataset, "train", _sample(pieces))
    ]
    need = BYTES_PER_CHARACTER * sum(sample) / max(1, len(sample)) * rows
    if need < MEMORY_SHARE * memory:
        return False, ""
    return True, f"stream true: {rows} rows would take about {need / 1e9:.1f} GB, and {memory / 1e9:.1f} GB are free"


def _stream(
    config: TrainConfig, entry: Entry, dataset: Artifact, chat: ChatFormat, limit: int, job: Job
) -> Stream[Any]:
    encode = entry.encode
    assert encode is not None

    def read(wanted: Sequence[Shard]) -> Rows[Any]:
        return collect(datasets.read(dataset, "train", wanted), lambda row: encode(row, chat, limit), "rows")

    shards = datasets.shards(dataset, "train", SHARD_ROWS, config.rows)
    sample = read(_sample(datasets.shards(dataset, "train", _PIECE, config.rows)))
    if not sample.encoded:
        sample = _first_usable(shards, read, dataset, job)
    return Stream(shards, read, sample)


def _first_usable(
    shards: Sequence[Shard], read: Callable[[Sequence[Shard]], Rows[E]], dataset: Artifact, job: Job
) -> Rows[E]:
    """Return the first shard of which any row can be used; ``DataError``, behind a list of all rows, if none can."""
    count = 0
    first: tuple[dict[str, str], ...] = ()
    with writing(job.path), left_out_list(job).open("w") as file:
        for shard in shards:
            rows = read([shard])
            if rows.encoded:
                return rows
            file.write(listing(rows))
            count, first = count + len(rows.left_out), first or rows.left_out[:1]
    raise none_usable(job, dataset, count, first)


def _sample(pieces: Sequence[Shard]) -> list[Shard]:
    """Pieces from all over a dataset, the same every time: what is chosen by them must not change with a resume."""
    order = np.random.default_rng(0).permutation(len(pieces))
    return sorted(pieces[index] for index in order[: _SAMPLE // _PIECE])
