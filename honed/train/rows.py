"""What is learned from, as token ids, and what can't be: named, counted, listed, never cut or dropped silently."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from honed.errors import DataError
from honed.jobs.events import Step
from honed.jobs.job import Job
from honed.jobs.worker import Stopped
from honed.models.chat import ChatFormat, Encoded, Unusable
from honed.records import Conversation, Preference, Rating
from honed.store import datasets
from honed.store.artifacts import Artifact
from honed.store.columns import Part
from honed.store.datasets import Shard
from honed.train import prefixes
from honed.train.prefixes import Example

LEFT_OUT = "left_out.jsonl"
"""The list of what can't be used, in a job's folder."""

E = TypeVar("E", bound=Example)
R = TypeVar("R", Conversation, Preference, Rating)


@dataclass(frozen=True)
class Rows(Generic[E]):
    """Examples as token ids, with their content ids; ``left_out`` says why each of the others can't be used.

    Each of these is ``row`` (its content id), ``kind``, ``message``, ``hint`` (how to mend it) and ``begins`` (what was
    asked last, its first characters).
    ``unit`` is the word for several of them. ``parts`` of the examples are answers that ``parted`` made examples.
    """

    encoded: tuple[E, ...]
    names: tuple[str, ...]
    left_out: tuple[dict[str, str], ...]
    unit: str = "rows"
    parts: int = 0

    @property
    def count(self) -> int:
        """How many were read, of which the examples were made."""
        return len(self.encoded) - self.parts

    @property
    def whole(self) -> int:
        """How many there were, whether they can be used or not."""
        return self.count + len(self.left_out)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each example, all its rows together."""
        return [sum(len(row.ids) for row in example.rows) for example in self.encoded]


def parted(rows: Rows[Encoded], tokens: int = 0) -> Rows[Encoded]:
    """Make rows apart from others examples of their own: where they can't share a pass, or wouldn't gain by it.

    ``tokens``, if any: a conversation stays one example if it computes no more of them, nor more than the longest row
    of all has, which is a pass by itself anyway; else it becomes several that don't.
    """
    longest = max((len(one.ids) for row in rows.encoded for one in row.rows), default=0)
    most = max(tokens, longest) if tokens else 0
    each = [(one, name) for row, name in zip(rows.encoded, rows.names, strict=True) for one in _cut(row, most)]
    found = tuple(one for one, _ in each)
    return replace(rows, encoded=found, names=tuple(name for _, name in each), parts=len(found) - len(rows.encoded))


def _cut(row: Encoded, tokens: int) -> list[Encoded]:
    """Cut a conversation into examples that compute ``tokens`` at most (a longer row is one alone), the fewest in all.

    What their rows begin with in common is computed in each of them.
    """
    if not row.apart:
        return [row]
    each = [replace(one, apart=()) for one in row.rows]
    runs = sorted(sorted(run) for run in prefixes.sort(each).cut(range(len(each)), tokens))
    return [replace(each[first], apart=tuple(each[place] for place in rest)) for first, *rest in runs]


@dataclass(frozen=True)
class Limit:
    """The most ``tokens`` that a row may have; what is said of a longer one: its ``kind``, ``why``, and what to do.

    ``known`` is how many ids the model has embeddings for: a token that was only added to the tokenizer has none.
    """

    tokens: int
    kind: str = "too long"
    why: str = "fit"
    hint: str = "Raise max_length, up to the model's context, or shorten the row."
    known: int = sys.maxsize


_ASKED = 8
"""Records between two looks at whether to stop: counted, not timed, since all ranks must look at the same record."""

_QUICK, _EACH = 2.0, 1.0
"""Seconds of reading of which nothing is said, and those between two words about a longer one."""


@dataclass(frozen=True)
class Reading:
    """The reading of a job's records at its start, which takes minutes where conversations are long."""

    job: Job
    stopping: Callable[[], bool]

    def of(self, dataset: Artifact, part: Part, count: int | None) -> Iterator[Any]:
        """Yield the first ``count`` records of a part that are trained on, as ``over``."""
        wanted = datasets.shards(dataset, "train", limit=count, part=part)
        if wanted:
            yield from self.over(datasets.training(dataset, part, wanted), wanted)

    def over(self, records: Iterable[R], wanted: Iterable[Shard]) -> Iterator[R]:
        """Yield the records of the shards, and say how many are read. Raises ``Stopped`` when asked to stop."""
        total, due, told = sum(shard.count for shard in wanted), time.monotonic() + _QUICK, False
        for done, record in enumerate(records):
            if done % _ASKED == 0 and self.stopping():
                raise Stopped
            if time.monotonic() > due:
                self.job.log.write(Step(stage="read", step=done, total=total))
                due, told = time.monotonic() + _EACH, True
            yield record
        if told:
            self.job.log.write(Step(stage="read", step=total, total=total))


def encode(rows: Iterable[Conversation], chat: ChatFormat, limit: Limit) -> Rows[Encoded]:
    """Turn rows into ids; those that can't be trained on, or are longer than ``limit``, are set aside, named."""
    return collect(rows, lambda row: encode_row(row, chat, limit), "rows")


def encode_row(row: Conversation, chat: ChatFormat, limit: Limit) -> Encoded:
    """Return a row's ids and loss weights. Raises ``Unusable`` as ``ChatFormat.encode``, or if it is too long."""
    encoded = chat.encode(row)
    longest = max(len(one.ids) for one in encoded.rows)
    if longest > limit.tokens:
        raise Unusable(limit.kind, f"{longest} tokens, and at most {limit.tokens} {limit.why}", limit.hint)
    largest = max(max(one.ids) for one in encoded.rows)
    if largest >= limit.known:
        token = chat.decode([largest], special=True)
        what = f"{token!r} is token {largest} of the tokenizer, and the model has embeddings for {limit.known}"
        raise Unusable("unknown token", what, "Choose another template, or a base whose embeddings fit its tokenizer.")
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
            why = {"kind": error.kind, "message": error.message, "hint": error.hint}
            left_out.append({"row": record.id, **why, "begins": _asked(record)})
            continue
        names.append(record.id)
    return Rows(tuple(encoded), tuple(names), tuple(left_out), unit)


_BEGINNING = 80
"""Characters of a prompt by which people find a row again in their own files."""


def _asked(record: Conversation | Preference | Rating) -> str:
    """How the last thing that was asked begins."""
    prompt = record.messages if isinstance(record, Conversation) else record.prompt
    return next((turn.content for turn in reversed(prompt) if turn.role == "user"), "")[:_BEGINNING]


def report_left_out(job: Job, rows: Rows[E], dataset: Artifact) -> None:
    """List the rows that were set aside in ``left_out.jsonl`` and say so; ``DataError`` if no row remains."""
    left_out_list(job).write_text(listing(rows), encoding="utf-8")
    if not rows.encoded:
        raise none_usable(job, dataset, len(rows.left_out), rows.left_out[:1], rows.unit)
    note_left_out(job, Counter(one["kind"] for one in rows.left_out), rows.unit)


def left_out_list(job: Job) -> Path:
    """Return the file where this rank lists what is set aside: a hidden one for ranks that aren't heard."""
    return job.path / (f".{LEFT_OUT}.{job.rank}" if job.rank else LEFT_OUT)


def listing(rows: Rows[E]) -> str:
    """Return what was set aside as JSON lines."""
    return "".join(json.dumps(one) + "\n" for one in rows.left_out)


def note_left_out(job: Job, kinds: Mapping[str, int], unit: str) -> None:
    """Say how many were set aside, of each kind; nothing if none was."""
    if kinds:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        job.log.note(f"{sum(kinds.values())} {unit} are left out ({counts}); each is listed in {job.path / LEFT_OUT}")


def note_unmeasured(job: Job, heldout: Rows[E]) -> None:
    """Say which held-out rows have no part in the loss during the run, if any."""
    if first := heldout.left_out[:1]:
        of = len(heldout.left_out) + len(heldout.encoded)
        why = f"row {first[0]['row']}: {first[0]['message']}"
        job.log.note(f"{len(heldout.left_out)} of {of} held-out rows have no part in the loss of this run; {why}")


def none_usable(
    job: Job, dataset: Artifact, count: int, first: Sequence[Mapping[str, str]], unit: str = "rows"
) -> DataError:
    """Return the error for a dataset of which nothing can be used; ``first`` is one row of the list of why, or none."""
    why = "".join(f"; row {one['row']}: {one['message']}" for one in first)
    message = f"{dataset.ref}: none of its {count} training {unit} can be used{why}"
    if not first:
        return DataError(message, "Import more rows, or hold out fewer.")
    base, row = shlex.quote(str(job.settings()["base"])), first[0]["row"]
    see = f"See {job.path / LEFT_OUT}, and: honed data show {dataset.ref} --model {base} --row {row}"
    return DataError(message, f"{first[0]['hint']} {see}".strip())
