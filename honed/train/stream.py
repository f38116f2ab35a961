"""Rows that are read from Parquet as they are needed, in bounded memory, in an order that the seed decides.

The rows lie in shards of neighbours. Each epoch permutes the shards by (seed, epoch) and cuts the permutation into
windows of equal size; a window's rows are tokenised, shuffled by (seed, epoch, window) and cut into optimizer steps
by the function that cuts all rows when they are in memory. A window holds many steps and is cut evenly, so nothing
is left over: every window is known from the seed and its number alone, and a resume reads no other.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from honed.errors import DataError
from honed.store.datasets import Shard
from honed.store.workspace import writing
from honed.train.batches import StepRows
from honed.train.prefixes import Example
from honed.train.rows import Rows, listing
from honed.train.steps import Planned, Position, count

SHARD_ROWS = 256
"""Neighbours in the file that always share a window: few enough to mix a file whose rows are sorted."""

E = TypeVar("E", bound=Example)

Plan = Callable[[Sequence[E], float, int], list[StepRows]]
"""``plan(examples, epochs, seed)``: the steps of examples that are in memory (``Layout.plan``)."""


@dataclass(frozen=True)
class Window:
    """Shards that are read together: those of ``number`` in ``epoch``, sorted as they lie in the file.

    They take the run from ``start`` to ``end`` of its rows. ``share`` of their steps belong to the run: less than 1
    in its last window, where a fraction of an epoch ends.
    """

    epoch: int
    number: int
    shards: tuple[Shard, ...]
    start: float
    end: float
    share: float


@dataclass(frozen=True)
class Place:
    """How far a stream has come: ``done`` steps of a window; and what was met on the way, kept with it.

    ``left_out`` counts rows by the reason why they can't be used; ``listed`` is the length in bytes of their list.
    """

    epoch: int
    window: int
    done: int
    rows: int
    left_out: Mapping[str, int]
    listed: int
    dataset_tokens: int
    supervised_tokens: int


_START = Place(epoch=0, window=0, done=0, rows=0, left_out={}, listed=0, dataset_tokens=0, supervised_tokens=0)


@dataclass
class Streamed(Generic[E]):
    """The steps of a run whose rows are read a window at a time; the next window is made ready while one is trained on.

    ``read`` returns the rows of shards as examples, ``window_rows`` is the size of a window, about. Rows that can't be
    used are listed in the file ``listing`` as the first epoch meets them. ``place`` is where ``after`` has come to:
    beyond the last step's position if windows without a usable row follow it.
    """

    shards: Sequence[Shard]
    read: Callable[[Sequence[Shard]], Rows[E]]
    plan: Plan[E]
    epochs: float
    seed: int
    window_rows: int
    listing: Path
    place: Place = field(default=_START, init=False)

    def after(self, done: int, position: Position) -> Iterator[Planned[E]]:
        """As ``Steps``. Reads the window of ``position`` anew, and cuts the list of left-out rows back to it.

        Raises ``DataError`` if none of the rows that it reads can be used.
        """
        self.place = Place(**position) if position else _START
        _cut(self.listing, self.place.listed)
        whole = self.epochs * sum(shard.count for shard in self.shards)
        for window, rows, steps in self._loaded(self.place):
            if (window.epoch, window.number) != (self.place.epoch, self.place.window) or not self.place.done:
                self.place = self._entered(self.place, window, rows)
            length = (window.end - window.start) / max(1, len(steps))
            for index in range(self.place.done, len(steps)):
                done += 1
                tokens, supervised = count([steps[index]], rows.encoded)
                self.place = replace(
                    self.place,
                    done=index + 1,
                    dataset_tokens=self.place.dataset_tokens + tokens,
                    supervised_tokens=self.place.supervised_tokens + supervised,
                )
                end = window.start + (index + 1) * length
                yield Planned(
                    number=done,
                    total=max(done, round(done * whole / end)),
                    passed=(end - length) / length,
                    whole=whole / length,
                    rows=steps[index],
                    examples=rows.encoded,
                    names=rows.names,
                    position=asdict(self.place),
                )
        if not done:
            raise DataError(
                f"none of the rows that {self.epochs:g} epochs read can be used", f"Raise epochs, or see {self.listing}"
            )

    def seen(self) -> dict[str, int]:
        """As ``Steps``."""
        return {
            "rows": self.place.rows,
            "left_out": sum(self.place.left_out.values()),
            "dataset_tokens": self.place.dataset_tokens,
            "supervised_tokens": self.place.supervised_tokens,
        }

    def windows(self, epoch: int = 0, number: int = 0) -> Iterator[Window]:
        """Yield the run's windows from one on."""
        rows = sum(shard.count for shard in self.shards)
        cuts = min(len(self.shards), max(1, round(rows / self.window_rows)))
        end = self.epochs * rows
        while (start := float(epoch * rows)) < end:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.shards))
            for place, part in enumerate(np.array_split(order, cuts)):
                here = tuple(sorted(self.shards[index] for index in part))
                size = sum(shard.count for shard in here)
                if place >= number and start < end:
                    stop = min(end, start + size)
                    yield Window(epoch, place, here, start, stop, (stop - start) / size)
                start += size
            epoch, number = epoch + 1, 0

    def _loaded(self, place: Place) -> Iterator[tuple[Window, Rows[E], list[StepRows]]]:
        """Each window from ``place`` on with its rows and steps, made by a thread that is one window ahead."""
        with ThreadPoolExecutor(1, "stream") as pool:
            ahead: Future[tuple[Window, Rows[E], list[StepRows]]] | None = None
            for window in chain(self.windows(place.epoch, place.window), [None]):
                ready, ahead = ahead, pool.submit(self._load, window) if window else None
                if ready:
                    yield ready.result()

    def _load(self, window: Window) -> tuple[Window, Rows[E], list[StepRows]]:
        rows = self.read(window.shards)
        if not rows.encoded:
            return window, rows, []
        seed = np.random.SeedSequence([self.seed, window.epoch, window.number]).generate_state(1)
        steps = self.plan(rows.encoded, 1.0, int(seed[0]))
        kept = steps[: max(1, round(window.share * len(steps)))]
        return window, rows, [replace(step, epoch=window.epoch) for step in kept]

    def _entered(self, place: Place, window: Window, rows: Rows[E]) -> Place:
        """The place at a window's first step; its unusable rows are listed and counted, in the first epoch only."""
        place = replace(place, epoch=window.epoch, window=window.number, done=0)
        if window.epoch > 0:
            return place
        text = listing(rows).encode()
        with writing(self.listing), self.listing.open("ab") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        kinds = Counter(place.left_out) + Counter(one["kind"] for one in rows.left_out)
        return replace(place, rows=place.rows + rows.count, left_out=dict(kinds), listed=place.listed + len(text))


def _cut(path: Path, size: int) -> None:
    """Cut a file to ``size`` bytes, dropping what a later, lost part of a run wrote; it is made if it isn't there."""
    with writing(path), path.open("ab") as file:
        file.truncate(size)
