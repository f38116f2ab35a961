"""The training process: ``python -m honed.train.worker <job folder>``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from honed.jobs import worker
from honed.jobs.job import Job
from honed.train import adapters, heap, neftune
from honed.train.heldout import HeldOut
from honed.train.kernels.install import checkpoint_layers, install
from honed.train.layout import Layout, choose
from honed.train.loop import Training
from honed.train.objectives.kinds import KINDS
from honed.train.objectives.sft import Sft
from honed.train.objectives.table import OBJECTIVES
from honed.train.prepare import Prepared, prepare
from honed.train.publish import ended, publish, ran, source
from honed.train.reference import Reference
from honed.train.rows import LEFT_OUT, note_left_out
from honed.train.source import Stream
from honed.train.steps import InMemory, Steps
from honed.train.stream import Streamed


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Train as ``config.yaml`` says, from the last checkpoint if there is one; return what ran and what came of it."""
    kept = heap.keep_freed_memory()
    run = prepare(job)
    model, config, settings = run.base.model, run.config, run.settings
    kernels = install(model)
    if config.activation_checkpointing:
        checkpoint_layers(model)
    sample = run.train.sample if isinstance(run.train, Stream) else run.train
    layout = choose(model, sample.encoded, config, settings)
    reasons = [*settings.reasons, *layout.reasons, *_of_stream(run)]
    if job.status().attempt == 1:
        for reason in reasons:
            job.log.note(reason)
    steps = _steps(run, layout, stopping)
    adapted = adapters.add(model, run.adapters, seed=config.seed) if run.adapters else []
    if config.neftune_alpha:
        neftune.add(model, config.neftune_alpha)
    given = KINDS[config.objective].settings(config.preference)
    objective = OBJECTIVES[config.objective].make(given, layout.fused, layout.packed, layout.shared)
    heldout = HeldOut(run.heldout.encoded, Sft(layout.fused, layout.shared), layout.packed, settings.device)
    training = Training(model, objective, heldout, steps, settings, job, stopping)
    heldout_loss = training.run()
    if isinstance(run.train, Stream):
        note_left_out(job, training.position["left_out"], "rows")
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    made = publish(run)
    return {
        "model": made.ref,
        "model_hash": made.manifest.hash,
        **ended(job, training.done),
        "diverged": training.watch.found and asdict(training.watch.found),
        "heldout_loss": heldout_loss,
        **source(run, training.done, steps.seen(training.position)),
        "tokens_per_second": training.tokens / training.seconds if training.seconds else 0.0,
        "ran": {
            **ran(run, layout, adapted=len(adapted), trainable=trainable),
            "kernels": kernels.describe(),
            "activation_checkpointing": config.activation_checkpointing,
            "freed_memory": "kept by the process" if kept else "as the system's allocator does",
        },
        "reasons": reasons,
    }


def _steps(run: Prepared, layout: Layout, stopping: Callable[[], bool]) -> Steps[Any]:
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
            listing=run.job.path / LEFT_OUT,
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
    examples = reference.attach(run.base.model, train.encoded, run.job, stopping)
    return InMemory(replace(train, encoded=examples), layout.steps)


def _of_stream(run: Prepared) -> list[str]:
    """What is to be said of a stream before it starts; nothing of rows in memory."""
    if not isinstance(run.train, Stream):
        return []
    stream, batch = run.train, run.settings.batch_tokens
    sample, steps = len(stream.sample.encoded), max(1, round(run.settings.epochs * stream.tokens / batch))
    said = [
        f"{stream.rows} rows are streamed: about {steps} steps (lengths and common prefixes are those of a sample of "
        f"{sample}); rows that can't be used are listed in {run.job.path / LEFT_OUT} as they are met"
    ]
    window = stream.window_rows(run.config.stream_rows, batch)
    if window * stream.tokens < batch * stream.rows:
        said.append(f"steps are smaller than batch_tokens {batch}: {window} rows (stream_rows) hold fewer tokens")
    return said


if __name__ == "__main__":
    worker.main(work)
