"""The training process, one of each rank: ``python -m honed.train.worker <job folder>``."""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import replace
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
    layout = _agreed(model, choose(model, run.train.encoded, config, settings), here)
    if job.status().attempt == 1:
        for reason in (*settings.reasons, *layout.reasons):
            job.log.note(reason)
    steps = layout.steps
    examples = run.train.encoded
    entry = OBJECTIVES[config.objective]
    refer = entry.reference
    if refer and config.shard == "none":  # before adapters are added: the model is still the base
        examples = _referred(run, layout, Replicated(model, here), stopping)
    adapted = adapters.add(model, run.adapters, seed=config.seed) if run.adapters else []
    if config.neftune_alpha:
        neftune.add(model, config.neftune_alpha)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    placed = _placed(run, here)
    if refer and config.shard != "none":  # only in shares it fits; fresh adapters change nothing
        examples = _referred(run, layout, placed, stopping)
    given = KINDS[config.objective].settings(config.preference)
    objective = entry.make(given, layout.fused, layout.packed, layout.shared)
    heldout = HeldOut(run.heldout.encoded, Sft(layout.fused, layout.shared), layout.packed, settings.device)
    training = Training(placed, objective, examples, run.train.names, heldout, steps, settings, job, stopping)
    heldout_loss = training.run()
    peaks = here.exchange(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    placed.gather()
    if not here.first:
        return run, {}
    return run, {
        **ended(job, len(steps)),
        "heldout_loss": heldout_loss,
        **({"published_step": training.best[0]} if training.best else {}),
        **source(run, steps),
        "tokens_per_second": training.tokens / training.seconds if training.seconds else 0.0,
        "ran": {
            **ran(run, layout, adapted=len(adapted), trainable=trainable),
            **_where(placed, config),
            "rank_peak_rss_bytes": peaks,
            "kernels": kernels.describe(),
            "activation_checkpointing": config.activation_checkpointing,
        },
        "reasons": [*settings.reasons, *layout.reasons],
    }


def _agreed(model: PreTrainedModel, layout: Layout, here: Ranks) -> Layout:
    """The layout, with the attention path that was the fastest on rank 0."""
    path = here.agreed(layout.attention)
    if path != layout.attention:
        model.set_attn_implementation(path)
    return replace(layout, attention=path)


def _referred(run: Prepared, layout: Layout, placed: Placement, stopping: Callable[[], bool]) -> tuple[Any, ...]:
    """The examples with what the base model makes of them."""
    settings = run.settings
    reference = Reference(
        f"{run.base.hash}-nf4" if settings.weights == "qlora" else run.base.hash,
        settings.precision,
        settings.device,
        packed=layout.packed,
        shared=layout.shared,
        fused=layout.fused,
        pack_tokens=settings.pack_tokens,
    )
    return reference.attach(placed, run.train.encoded, run.job, stopping)


def _placed(run: Prepared, here: Ranks) -> Placement:
    """The model as the settings want it on the ranks."""
    config, settings = run.config, run.settings
    if config.shard == "none":
        return Replicated(run.base.model, here)
    compute = DTYPES[settings.precision]
    return Sharded(run.base.model, here, device=settings.device, compute=compute, cpu_offload=config.cpu_offload)


def _where(placed: Placement, config: TrainConfig) -> dict[str, Any]:
    """How many ranks there were, where, and how the model lay on them."""
    here = placed.ranks
    on = config.on or "this machine"
    return {"ranks": here.size, "placement": placed.name, "backend": here.backend, "on": on}


if __name__ == "__main__":
    worker.main(work)
