"""What a run learns from: examples in memory, or a stream of them where they wouldn't fit; which of both, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Generic, TypeVar

import numpy as np

from honed.jobs.job import Job
from honed.models.chat import ChatFormat
from honed.records import Conversation, Preference, Rating
from honed.store import datasets
from honed.store.artifacts import Artifact
from honed.store.columns import Part
from honed.store.datasets import Shard
from honed.store.workspace import writing
from honed.train.config import TrainConfig
from honed.train.objectives.kinds import KINDS
from honed.train.objectives.table import OBJECTIVES, Entry
from honed.train.prefixes import Example
from honed.train.rows import Limit, Reading, Rows, collect, left_out_list, listing, none_usable, report_left_out
from honed.train.stream import SHARD_ROWS

BYTES_PER_TOKEN = 48
"""Memory of a row as token ids and loss weights, about."""

BYTES_PER_CHARACTER = BYTES_PER_TOKEN // 3
"""The same of a row's text: a token for every three characters."""

MEMORY_SHARE = 0.25
"""Share of the free memory that rows may take; the rest is the model's."""

WINDOW_TOKENS = 2_000_000
WINDOW_ROWS = 8192
WINDOW_STEPS = 16
"""A window holds so many tokens (100 MB of memory) or rows, whichever is less, but so many optimizer steps at least."""

_SAMPLE, _PIECE = 1024, 32

_PARTS: Mapping[str, tuple[Part, ...]] = {
    "rows": ("rows",),
    "preferences": ("preferences",),
    "answers": ("ratings", "preferences"),
}
"""The parts of a dataset that hold what an objective learns from (``kinds.Kind.learns``)."""

_UNITS: Mapping[Part, str] = {"rows": "rows", "preferences": "pairs"}

_ALL = "the base model's likelihoods of all of them are computed before the first step"

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
        return round(sum(self.sample.lengths) / self.sample.whole * self.rows)

    @property
    def examples(self) -> int:
        """Examples of all rows, estimated from the sample."""
        return round(len(self.sample.encoded) / self.sample.whole * self.rows)

    def window_rows(self, wish: int | None, batch_tokens: int) -> int:
        """Return how many rows make up a window, about: ``wish``, or what memory and even steps ask for."""
        length = self.tokens / self.rows
        return wish or round(max(min(WINDOW_ROWS, WINDOW_TOKENS / length), WINDOW_STEPS * batch_tokens / length))


def find(
    config: TrainConfig, dataset: Artifact, chat: ChatFormat, limit: Limit, reading: Reading, memory: int
) -> tuple[Rows[Any] | Stream[Any], str]:
    """Return what ``config.objective`` learns from, and why it is streamed if that was chosen here, or can't be.

    ``memory`` is what is free, in bytes; ``limit`` is how long a row may be. Raises ``DataError`` if no row can
    be used, ``Stopped`` when asked to stop.
    """
    entry = OBJECTIVES[config.objective]
    streams, why = _choice(config, entry, dataset, memory, apart=chat.rewrites)
    if streams:
        return _stream(config, entry, dataset, chat, limit, reading), why
    rows = entry.read(dataset, chat, limit, config.rows, reading)
    report_left_out(reading.job, rows, dataset)
    return rows, why


def _choice(config: TrainConfig, entry: Entry, dataset: Artifact, memory: int, *, apart: bool) -> tuple[bool, str]:
    """Whether to stream, and what is to be said of it; ``apart``: answers have rows of their own."""
    if config.stream != "auto":
        return config.stream, ""
    parts = _PARTS[KINDS[config.objective].learns]
    counts, needs = zip(*(_need(dataset, part, config.rows, apart) for part in parts), strict=True)
    if sum(needs) < MEMORY_SHARE * memory:
        return False, ""
    size = f"{sum(counts)} {' and '.join(parts)} would take about {sum(needs) / 1e9:.1f} GB"
    said = f"{size}, and {memory / 1e9:.1f} GB are free"
    if entry.encode is None:
        return False, f"stream false, and all is loaded: {said}, but {_ALL}; rows sets how many are taken"
    return True, f"stream true: {said}"


def _need(dataset: Artifact, part: Part, limit: int | None, apart: bool) -> tuple[int, float]:
    """Return how many records of a part are trained on, and the bytes that they take as token ids, from a sample."""
    pieces = datasets.shards(dataset, "train", _PIECE, limit, part=part)
    count = sum(piece.count for piece in pieces)
    records = datasets.training(dataset, part, _sample(pieces)) if pieces else []
    sample = [_characters(record, apart) for record in records]
    return count, BYTES_PER_CHARACTER * sum(sample) / max(1, len(sample)) * count


def _characters(record: Conversation | Preference | Rating, apart: bool) -> int:
    """The characters of all rows that are made of a record: each answer has its prompt before it."""
    if isinstance(record, Conversation):
        sizes = list(accumulate(len(message.content) for message in record.messages))
        earlier = zip(record.messages[:-1], sizes, strict=False) if apart else ()
        return sizes[-1] + sum(size for message, size in earlier if message.role == "assistant" and message.weight)
    prompt = sum(len(message.content) for message in record.prompt)
    answers = [record.answer] if isinstance(record, Rating) else [record.chosen, record.rejected]
    return sum(prompt + len(answer) for answer in answers)


def _stream(
    config: TrainConfig, entry: Entry, dataset: Artifact, chat: ChatFormat, limit: Limit, reading: Reading
) -> Stream[Any]:
    encode = entry.encode
    assert encode is not None
    (part,) = _PARTS[KINDS[config.objective].learns]

    def encoded(records: Iterable[Any]) -> Rows[Any]:
        return collect(records, lambda row: encode(row, chat, limit), _UNITS[part])

    def read(wanted: Sequence[Shard]) -> Rows[Any]:
        return encoded(datasets.training(dataset, part, wanted))

    def first(wanted: Sequence[Shard]) -> Rows[Any]:
        return encoded(reading.over(datasets.training(dataset, part, wanted), wanted))

    shards = datasets.shards(dataset, "train", SHARD_ROWS, config.rows, part=part)
    sample = first(_sample(datasets.shards(dataset, "train", _PIECE, config.rows, part=part)))
    if not sample.encoded:
        sample = _first_usable(shards, first, dataset, reading.job, _UNITS[part])
    return Stream(shards, read, sample)


def _first_usable(
    shards: Sequence[Shard], read: Callable[[Sequence[Shard]], Rows[E]], dataset: Artifact, job: Job, unit: str
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
    raise none_usable(job, dataset, count, first, unit)


def _sample(pieces: Sequence[Shard]) -> list[Shard]:
    """Pieces from all over a dataset, the same every time: what is chosen by them must not change with a resume."""
    order = np.random.default_rng(0).permutation(len(pieces))
    return sorted(pieces[index] for index in order[: _SAMPLE // _PIECE])
