"""The passes that a run will have, by their sizes, and how many steps; of a stream, by what its sample shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from honed.train.batches import StepRows
from honed.train.loop import Batch
from honed.train.objectives.kinds import KINDS
from honed.train.prepare import Prepared
from honed.train.rows import Rows
from honed.train.setup import Setup
from honed.train.source import BYTES_PER_TOKEN, Stream
from honed.train.steps import count
from honed.train.stream import Streamed


@dataclass(frozen=True)
class Expected:
    """Every pass of the run by its computed tokens, step by step; ``sizes`` are those of each different one.

    ``single``: no step has a second pass, beside which the first one's gradients stand; of a stream nobody knows.

    Of a stream ``steps`` are those of its sample in one epoch, and the run has ``times`` as many passes; it has
    ``total`` steps, and holds windows of ``windows`` bytes at a time. ``once`` are passes that have every example once:
    what the base model computes beforehand, where an objective asks for that. ``make`` lays out a pass: a plan holds
    no more at a time than a run does; ``longest`` is the one whose rows have the most of what grows with their squares.
    ``counted`` is what a plan tells of them.
    """

    steps: list[list[int]]
    sizes: Mapping[tuple[int, ...], int]
    make: Callable[[tuple[int, ...]], Batch]
    once: list[int]
    single: bool
    times: float
    total: int
    windows: int
    longest: tuple[int, ...]
    counted: Mapping[str, Any]

    def spread(self, count: int) -> list[Batch]:
        """Return ``count`` passes from the largest to the smallest, evenly by rank; fewer there are, some twice."""
        by_size = sorted(self.sizes, key=lambda one: -self.sizes[one])
        return [self.make(by_size[round(k * (len(by_size) - 1) / max(1, count - 1))]) for k in range(count)]


def expect(run: Prepared, ready: Setup) -> Expected:
    """Lay out what the run computes: its own steps, or of a stream one epoch of the sample, whatever ``epochs`` is."""
    stream, train = (run.train, run.train.sample) if isinstance(run.train, Stream) else (None, run.train)
    refers = KINDS[run.config.objective].refers
    examples = train.encoded
    if refers:  # any numbers will do
        examples = tuple(replace(one, reference=(0.0,) * len(one.referred)) for one in examples)

    def make(one: tuple[int, ...]) -> Batch:
        batch: Batch = ready.objective.collate([examples[index] for index in one])
        return batch

    def squares(one: tuple[int, ...]) -> int:
        return sum(len(row.ids) ** 2 for index in one for row in examples[index].rows)

    epoch = ready.layout.plan(train.encoded, 1.0, run.config.seed) if stream or refers else []
    steps = epoch if stream else ready.layout.steps
    sizes = {one: make(one).tokens for one in {pack: None for step in steps for pack in step.packs}}
    computed = [[sizes[one] for one in step.packs] for step in steps]
    times, total, windows = 1.0, len(steps), 0
    if stream:
        total, times, windows = _of_stream(stream, ready, run.settings.batch_tokens, steps)
    return Expected(
        steps=computed,
        sizes=sizes,
        make=make,
        once=[sizes.get(one) or make(one).tokens for step in epoch for one in step.packs] if refers else [],
        single=not stream and max(map(len, computed)) == 1,
        times=times,
        total=total,
        windows=windows,
        longest=max(sizes, key=squares),
        counted={
            **_counted(train, steps, computed, times),
            "steps": total,
            **(_rows(stream, run.settings.epochs) if stream else {}),
        },
    )


def _counted(
    train: Rows[Any], steps: Sequence[StepRows], computed: Sequence[list[int]], times: float
) -> dict[str, Any]:
    """What a plan tells of the rows and the passes that they make."""
    tokens, supervised = count(steps, train.encoded)
    counted = {
        "passes": sum(map(len, computed)),
        "dataset_tokens": tokens,
        "computed_tokens": sum(map(sum, computed)),
        "supervised_tokens": supervised,
    }
    return {
        "rows": train.count,
        "left_out": len(train.left_out),
        **{name: round(value * times) for name, value in counted.items()},
        "estimated": False,
        "largest_pass": max(map(max, computed)),
    }


def _rows(stream: Stream[Any], epochs: float) -> dict[str, Any]:
    """The rows of a whole stream; all else is an estimate but where the sample has all rows, in whole epochs."""
    sample = stream.sample
    share = stream.rows / sample.whole
    return {
        "rows": round(sample.count * share),
        "left_out": round(len(sample.left_out) * share),
        "estimated": share != 1 or epochs % 1 > 0,
    }


def _of_stream(
    stream: Stream[Any], ready: Setup, batch_tokens: int, steps: Sequence[StepRows]
) -> tuple[int, float, int]:
    """Return how many steps the run takes, how many times the sample it computes, and the bytes of its windows.

    Each window is cut into steps by itself, of which those that belong to the run are whole ones (``Streamed``).
    Two windows are held: one that is trained on, and the next.
    """
    assert isinstance(ready.steps, Streamed), "setup.py streams what is a stream"
    sample = sum(stream.sample.lengths)
    asked = max(1, round(sample / batch_tokens))
    each = batch_tokens if len(steps) == asked else sample / len(steps)  # fewer, of rows that are longer than a step
    total, tokens, sizes = 0, 0.0, []
    for window in ready.steps.windows():
        sizes.append(sum(shard.count for shard in window.shards) * sample / stream.sample.whole)
        whole = max(1, round(sizes[-1] / each))
        kept = max(1, round(window.share * whole))
        total, tokens = total + kept, tokens + sizes[-1] * kept / whole
    held = max((one + other for one, other in pairwise(sizes)), default=sizes[0])
    return total, tokens / sample, round(BYTES_PER_TOKEN * held)
