"""The time of a run, from a few of its passes, an optimizer step, a held-out loss and a written file, timed here."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import psutil

from honed.jobs import worker
from honed.jobs.events import Step
from honed.models import devices
from honed.store.workspace import writing
from honed.train import cost, deal, folder, footprint
from honed.train.expected import Expected
from honed.train.loop import Batch, between
from honed.train.optim import Optimizer
from honed.train.prepare import Prepared
from honed.train.setup import Setup

_TIMED = 4
"""Passes that are timed, behind those that warm up: these count for memory only."""


def seconds(run: Prepared, ready: Setup, expected: Expected, stopping: Callable[[], bool]) -> dict[str, float]:
    """Return the seconds of the whole run by their kind, and ``total``. Raises ``Stopped`` when asked to stop.

    The passes are those of one rank, the busiest of each step.
    """
    device = run.settings.device
    named = [(name, p) for name, p in run.base.model.named_parameters() if p.requires_grad]
    optimizer = Optimizer(named, weight_decay=0.0, average=run.settings.average)
    spread = expected.spread(_TIMED)
    longest = expected.make(expected.longest)
    warm = [longest, *([spread[0]] if spread[0].tokens != longest.tokens else [])]
    chosen = [*warm, *spread]
    times: list[float] = []
    updates: list[float] = []
    for number, batch in enumerate(chosen, start=1):
        times.append(devices.clocked(partial(learn, run, ready, optimizer, batch), device))
        # As in the run, a pass stands alone or beside the gradients of another: the peak is read from the system.
        if number == 2 or expected.single:
            updates.append(devices.clocked(partial(optimizer.step, 1e-12, 1.0), device))
        run.job.log.write(Step(stage="probe", step=number, total=len(chosen)))
        if stopping():
            raise worker.Stopped
    # The first one of a process takes longer; here it is that of all weights, in the run of this rank's share.
    update = statistics.median(updates[1:] or updates) / footprint.shares(run.config)
    pace = cost.pace(times[len(warm) :], [batch.tokens for batch in spread])
    size = max(1, run.config.ranks)
    passes = [busiest(step, size, run.config.shard) for step in expected.steps]
    training = expected.times * sum(map(pace.seconds, passes)) + update * expected.total
    if device == "cuda" and ready.heldout.rows:  # what is compiled for it is compiled once
        ready.heldout.loss(ready.placed)
    heldout = devices.clocked(lambda: ready.heldout.loss(ready.placed), device) if ready.heldout.rows else 0.0
    parts = {
        "start": time.time() - psutil.Process().create_time() - sum(times) - sum(updates) - heldout,
        # Forward only, dealt in rounds, unless an earlier run left what comes of it.
        "reference": 0.0 if ready.referred else pace.seconds(busiest(expected.once, size, "fsdp")) / 3,
        "steps": training,
        "heldout": heldout * measurements(expected.total, run.settings.eval_every) / size,
        "saving": _saving(run, ready, training, expected.total),
    }
    return {**parts, "total": sum(parts.values())}


def measurements(steps: int, every: int) -> int:
    """Return how often a run measures its held-out loss: before its steps, behind so many each time, and after all."""
    return 1 + math.ceil(steps / every)


def busiest(step: Sequence[int], ranks: int, shard: str) -> list[int]:
    """Return the passes of the rank that has the most to compute in a step, dealt as ``placement`` deals them."""
    dealt = deal.in_rounds(step, ranks) if shard == "fsdp" else deal.balanced(step, ranks)
    return max(([step[turn.index] for turn in turns] for turns in dealt), key=sum)


def learn(run: Prepared, ready: Setup, optimizer: Optimizer, batch: Batch) -> None:
    """Compute a pass as the run does, forward and backward, and leave its gradients with the optimizer."""
    run.base.model.train()
    (one,) = ready.placed.run(lambda model, some: ready.objective.ready(model, some, batch.weight), [batch])
    sums = ready.placed.run(ready.objective.sums, one.to(run.settings.device))
    (sums["loss"] / batch.weight).backward()
    optimizer.accumulate()


def _saving(run: Prepared, ready: Setup, training: float, steps: int) -> float:
    """Seconds for the model and the checkpoints, at the rate at which 64 MB are written and synced here."""
    path = run.job.path / ".probe"
    block = bytes(64 * 1024 * 1024)

    def write() -> None:
        with path.open("wb") as file:
            file.write(block)
            os.fsync(file.fileno())

    with writing(path):
        taken = devices.clocked(write, "cpu")
        path.unlink()
    every = run.settings.checkpoint_every
    one = taken * folder.of_checkpoint(ready.trainable, average=run.settings.average) / len(block)
    checkpoints = steps // every if every else training // between(one)
    return float(taken * ready.disk.model / len(block) + checkpoints * one)
