"""The training process: ``python -m honed.train.worker <job folder>``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from honed.jobs import worker
from honed.jobs.job import Job
from honed.train import adapters, heap, neftune
from honed.train.heldout import HeldOut
from honed.train.kernels.install import checkpoint_layers, install
from honed.train.layout import choose
from honed.train.loop import Training
from honed.train.objectives.kinds import KINDS
from honed.train.objectives.sft import Sft
from honed.train.objectives.table import OBJECTIVES
from honed.train.prepare import prepare
from honed.train.publish import ended, publish, ran, source
from honed.train.reference import Reference


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Train as ``config.yaml`` says, from the last checkpoint if there is one; return what ran and what came of it."""
    kept = heap.keep_freed_memory()
    run = prepare(job)
    model, config, settings = run.base.model, run.config, run.settings
    kernels = install(model)
    if config.activation_checkpointing:
        checkpoint_layers(model)
    layout = choose(model, run.train.encoded, config, settings)
    if job.status().attempt == 1:
        for reason in (*settings.reasons, *layout.reasons):
            job.log.note(reason)
    steps = layout.steps
    examples = run.train.encoded
    entry = OBJECTIVES[config.objective]
    if entry.reference:  # before adapters are added: the model is still the base
        reference = Reference(
            f"{run.base.hash}-nf4" if settings.weights == "qlora" else run.base.hash,
            settings.precision,
            settings.device,
            packed=layout.packed,
            shared=layout.shared,
            fused=layout.fused,
            pack_tokens=settings.pack_tokens,
        )
        examples = reference.attach(model, examples, job, stopping)
    adapted = adapters.add(model, run.adapters, seed=config.seed) if run.adapters else []
    if config.neftune_alpha:
        neftune.add(model, config.neftune_alpha)
    given = KINDS[config.objective].settings(config.preference)
    objective = entry.make(given, layout.fused, layout.packed, layout.shared)
    heldout = HeldOut(run.heldout.encoded, Sft(layout.fused, layout.shared), layout.packed, settings.device)
    training = Training(model, objective, examples, run.train.names, heldout, steps, settings, job, stopping)
    heldout_loss = training.run()
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    made = publish(run)
    return {
        "model": made.ref,
        "model_hash": made.manifest.hash,
        **ended(job, len(steps)),
        "heldout_loss": heldout_loss,
        **source(run, steps),
        "tokens_per_second": training.tokens / training.seconds if training.seconds else 0.0,
        "ran": {
            **ran(run, layout, adapted=len(adapted), trainable=trainable),
            "kernels": kernels.describe(),
            "activation_checkpointing": config.activation_checkpointing,
            "freed_memory": "kept by the process" if kept else "as the system's allocator does",
        },
        "reasons": [*settings.reasons, *layout.reasons],
    }


if __name__ == "__main__":
    worker.main(work)
