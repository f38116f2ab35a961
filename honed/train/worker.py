"""The training process, one of each rank: ``python -m honed.train.worker <job folder>``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from honed.errors import ModelError
from honed.jobs import memory, worker
from honed.jobs.events import Metric, since_anew
from honed.jobs.job import Job
from honed.models import devices
from honed.train import folder, heap, ranks
from honed.train.attempts import chosen, read
from honed.train.config import TrainConfig
from honed.train.divergence import Watch
from honed.train.kernels.install import checkpoints_layers
from honed.train.loop import Training
from honed.train.objectives.kinds import KINDS
from honed.train.placement import Placement
from honed.train.prepare import Prepared, prepare
from honed.train.publish import ended, publish, ran, source
from honed.train.ranks import Ranks
from honed.train.rows import note_left_out
from honed.train.setup import set_up
from honed.train.source import Stream
from honed.train.stream import Streamed

_RISEN = 1.01
"""How far above its lowest a held-out loss ends that is told of: more than by chance of the order (0.1 %, measured)."""


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Train as ``config.yaml`` says, from the last checkpoint if there is one; return what ran and what came of it.

    Of several ranks each does this; rank 0 alone publishes, and the others return nothing.
    """
    freed = heap.keep_freed_memory()
    heap.keep_few_kernels()
    config = read(job)
    device = _device(job, config.device)
    with worker.listening(job), ranks.joined(device, group=config.shard == "fsdp") as here:
        run, result = _train(job, here, lambda: here.any(stopping()))
    if not here.first:
        return {}
    result["ran"]["freed_memory"] = freed or "as the system's allocator does"
    made = publish(run)
    return {"model": made.ref, "path": str(made.path), "model_hash": made.manifest.hash, **result}


def _device(job: Job, wish: str) -> str:
    """As ``choose_for_training``; of one that the first attempt chose, which isn't here now, that is said."""
    try:
        return devices.choose_for_training(wish)[0]
    except ModelError as error:
        if chosen(job).get("device") != wish:
            raise
        raise ModelError(
            f"the first attempt of job {job.id} ran on {wish}, and so must this one: {error.message}",
            f"Resume it where there is one, or train anew: honed train {job.path / 'config.yaml'}",
        ) from error


def _train(job: Job, here: Ranks, stopping: Callable[[], bool]) -> tuple[Prepared, dict[str, Any]]:
    """Train; return the run, and on rank 0, where its model is whole now, the result."""
    run = prepare(job, here, stopping)
    ready = set_up(run, here, stopping)
    on_gpu = run.settings.device == "cuda"
    if on_gpu:  # the model went there, and what it left in the host's memory is of no use to a step
        heap.give_back()
    watch = Watch(likelihood=KINDS[run.config.objective].likelihood)
    training = Training(ready.placed, ready.objective, ready.heldout, ready.steps, run.settings, job, stopping, watch)
    heldout_loss = training.run()
    if run.config.objective == "sft":  # preferences are learned at the likelihood's cost
        _note_rise(job, heldout_loss)
    _note_unlearned(job, run.config, watch, run.settings.learning_rate)
    peaks, of_gpus = here.exchange(memory.peak()), here.exchange(torch.cuda.max_memory_allocated() if on_gpu else 0)
    ready.placed.gather()
    if not here.first:
        return run, {}
    if isinstance(run.train, Stream) and isinstance(ready.steps, Streamed):
        note_left_out(job, ready.steps.place.left_out, run.train.sample.unit)
    return run, {
        **ended(job, training.done),
        "diverged": watch.found and asdict(watch.found),
        "heldout_loss": heldout_loss,
        "heldout_loss_before": next((event.value for event in _measured(job) if event.step == 0), None),
        **({"published_step": training.best[0]} if training.best else {}),
        **source(run, training.done, ready.steps.seen()),
        "tokens_per_second": training.tokens / training.seconds if training.seconds else 0.0,
        "ran": {
            **ran(run, ready.layout, adapted=len(ready.adapted), trainable=ready.trainable),
            **_where(ready.placed, run.config),
            "rank_peak_rss_bytes": peaks,
            **({"rank_peak_gpu_bytes": of_gpus} if on_gpu else {}),
            "kernels": ready.kernels.describe(),
            "activation_checkpointing": checkpoints_layers(run.base.model),
        },
        "reasons": list(ready.reasons),
    }


def _note_rise(job: Job, left: float | None) -> None:
    """Say so if the weights that are left predict the held-out answers worse than the first, or the best, ones did."""
    losses = _measured(job)
    if left is None or not losses:
        return
    before, lowest = losses[0], min(losses, key=lambda event: event.value)
    if before.step == 0 and round(left, 4) > round(before.value, 4):
        rose = f"the held-out loss rose from {before.value:.4f} to {left:.4f}"
        job.log.note(f"{rose}: lower learning_rate or epochs, or see the rows")
    elif left > _RISEN * lowest.value:
        job.log.note(
            f"the held-out loss was lowest after step {lowest.step}, {lowest.value:.4f}, and is {left:.4f} in the end:"
            " keep_best publishes the weights it was lowest with, fewer epochs train no longer than that"
        )


def _measured(job: Job) -> list[Metric]:
    """The held-out losses so far, that before the first step first."""
    events = since_anew(job.events())
    return [event for event in events if isinstance(event, Metric) and event.name == "heldout_loss"]


def _note_unlearned(job: Job, config: TrainConfig, watch: Watch, rate: float) -> None:
    """Say so if a loss beside a reference, which begins where nothing is known yet, ends no lower.

    Of kto's answers with unequal weights the first step's loss depends on which it has, and tells nothing.
    """
    kind = KINDS[config.objective]
    given = kind.settings(config.preference)
    if not kind.refers or given.get("desirable") != given.get("undesirable"):
        return
    if why := watch.no_lower():
        job.log.note(f"nothing was learned: {why}; change learning_rate (now {rate:g})")


def _where(placed: Placement, config: TrainConfig) -> dict[str, Any]:
    """How many ranks there were, where, and how the model lay on them."""
    here = placed.ranks
    on = config.on or "this machine"
    return {"ranks": here.size, "placement": placed.name, "backend": here.backend, "on": on}


if __name__ == "__main__":
    try:
        worker.main(work, tidy=folder.tidy)
    except SystemExit as exit_:
        ranks.leave(exit_.code)
