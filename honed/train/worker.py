"""The training process, one of each rank: ``python -m honed.train.worker <job folder>``."""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from transformers import PreTrainedModel

from honed import config as settings_file
from honed.jobs import worker
from honed.jobs.job import Job
from honed.models import devices
from honed.train import adapters, heap, neftune, ranks
from honed.train.config import TrainConfig
from honed.train.heldout import HeldOut
from honed.train.kernels.install import checkpoint_layers, install
from honed.train.layout import Layout, choose
from honed.train.loop import Training
from honed.train.objectives.kinds import KINDS
from honed.train.objectives.sft import Sft
from honed.train.objectives.table import OBJECTIVES
from honed.train.placement import Placement, Replicated, Sharded
from honed.train.prepare import DTYPES, Prepared, prepare
from honed.train.publish import ended, publish, ran, source
from honed.train.ranks import Ranks
from honed.train.reference import Reference
from honed.train.rows import left_out_list, note_left_out
from honed.train.source import Stream
from honed.train.steps import InMemory, Steps
from honed.train.stream import Streamed


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Train as ``config.yaml`` says, from the last checkpoint if there is one; return what ran and what came of it.

    Of several ranks each does this; rank 0 alone publishes, and the others return nothing.
    """
    kept = heap.keep_freed_memory()
    config = settings_file.read(TrainConfig, job.path / "config.yaml")
    device = devices.choose_device(config.device)
    with ranks.joined(device, group=config.shard == "fsdp") as here:
        run, result = _train(job, here, lambda: here.any(stopping())[0])
    if not here.first:
        return {}
    result["ran"]["freed_memory"] = "kept by the process" if kept else "as the system's allocator does"
    made = publish(run)
    return {"model": made.ref, "model_hash": made.manifest.hash, **result}


def _train(job: Job, here: Ranks, stopping: Callable[[], bool]) -> tuple[Prepared, dict[str, Any]]:
    """Train; return the run, and on rank 0, where its model is whole now, the result."""
    run = prepare(job, here)
    model, config, settings = run.base.model, run.config, run.settings
    kernels = install(model)
    if config.activation_checkpointing:
        checkpoint_layers(model)
    sample = run.train.sample if isinstance(run.train, Stream) else run.train
    layout = _agreed(model, choose(model, sample.encoded, config, settings), here)
    reasons = [*settings.reasons, *layout.reasons, *_of_stream(run)]
    if job.status().attempt == 1:
        for reason in reasons:
            job.log.note(reason)
    placed: Placement
    if config.shard == "none":
        placed = Replicated(model, here)
        steps = _steps(run, layout, placed, stopping)
        adapted, trainable = _adapted(run)
    else:  # it is cut with its adapters in it, and may fit in shares only; fresh adapters change nothing
        adapted, trainable = _adapted(run)
        compute = DTYPES[settings.precision]
        placed = Sharded(model, here, device=settings.device, compute=compute, cpu_offload=config.cpu_offload)
        steps = _steps(run, layout, placed, stopping)
    given = KINDS[config.objective].settings(config.preference)
    objective = OBJECTIVES[config.objective].make(given, layout.fused, layout.packed, layout.shared)
    heldout = HeldOut(run.heldout.encoded, Sft(layout.fused, layout.shared), layout.packed, settings.device)
    training = Training(placed, objective, heldout, steps, settings, job, stopping)
    heldout_loss = training.run()
    if isinstance(run.train, Stream):
        note_left_out(job, training.position["left_out"], "rows")
    peaks = here.exchange(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    placed.gather()
    if not here.first:
        return run, {}
    return run, {
        **ended(job, training.done),
        "diverged": training.watch.found and asdict(training.watch.found),
        "heldout_loss": heldout_loss,
        **({"published_step": training.best[0]} if training.best else {}),
        **source(run, training.done, steps.seen(training.position)),
        "tokens_per_second": training.tokens / training.seconds if training.seconds else 0.0,
        "ran": {
            **ran(run, layout, adapted=adapted, trainable=trainable),
            **_where(placed, config),
            "rank_peak_rss_bytes": peaks,
            "kernels": kernels.describe(),
            "activation_checkpointing": config.activation_checkpointing,
        },
        "reasons": reasons,
    }


def _agreed(model: PreTrainedModel, layout: Layout, here: Ranks) -> Layout:
    """The layout, with the attention path that was the fastest on rank 0."""
    path = here.agreed(layout.attention)
    if path != layout.attention:
        model.set_attn_implementation(path)
    return replace(layout, attention=path)


def _steps(run: Prepared, layout: Layout, placed: Placement, stopping: Callable[[], bool]) -> Steps[Any]:
    """The order of the run. The references of an objective that needs them are computed while the model is the base."""
    config, settings, train = run.config, run.settings, run.train
    if isinstance(train, Stream):
        return Streamed(
            shards=train.shards,
            read=train.read,
            plan=layout.plan,
            epochs=settings.epochs,
            seed=config.seed,
            window_rows=train.window_rows(config.stream_rows, settings.batch_tokens),
            listing=left_out_list(run.job),
        )
    if not OBJECTIVES[config.objective].reference:
        return InMemory(train, layout.steps)
    reference = Reference(
        f"{run.base.hash}-nf4" if settings.weights == "qlora" else run.base.hash,
        settings.precision,
        settings.device,
        packed=layout.packed,
        shared=layout.shared,
        fused=layout.fused,
        pack_tokens=settings.pack_tokens,
    )
    examples = reference.attach(placed, train.encoded, run.job, stopping)
    return InMemory(replace(train, encoded=examples), layout.steps)


def _adapted(run: Prepared) -> tuple[int, int]:
    """Put in what is trained beside the weights; return how many layers have adapters, how many numbers are trained."""
    model, config = run.base.model, run.config
    adapted = adapters.add(model, run.adapters, seed=config.seed) if run.adapters else []
    if config.neftune_alpha:
        neftune.add(model, config.neftune_alpha)
    return len(adapted), sum(p.numel() for p in model.parameters() if p.requires_grad)


def _where(placed: Placement, config: TrainConfig) -> dict[str, Any]:
    """How many ranks there were, where, and how the model lay on them."""
    here = placed.ranks
    on = config.on or "this machine"
    return {"ranks": here.size, "placement": placed.name, "backend": here.backend, "on": on}


def _of_stream(run: Prepared) -> list[str]:
    """What is to be said of a stream before it starts; nothing of rows in memory."""
    if not isinstance(run.train, Stream):
        return []
    stream, batch = run.train, run.settings.batch_tokens
    sample, steps = len(stream.sample.encoded), max(1, round(run.settings.epochs * stream.tokens / batch))
    said = [
        f"{stream.rows} rows are streamed: about {steps} steps (lengths and common prefixes are those of a sample of "
        f"{sample}); rows that can't be used are listed in {left_out_list(run.job)} as they are met"
    ]
    window = stream.window_rows(run.config.stream_rows, batch)
    if window * stream.tokens < batch * stream.rows:
        said.append(f"steps are smaller than batch_tokens {batch}: {window} rows (stream_rows) hold fewer tokens")
    return said


if __name__ == "__main__":
    worker.main(work)
