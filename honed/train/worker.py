"""The training process: ``python -m honed.train.worker <job folder>``."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from honed import config as settings_file
from honed.jobs import worker
from honed.jobs.events import ArtifactMade
from honed.jobs.job import Job
from honed.models import devices
from honed.models import load as models
from honed.models import save as saving
from honed.models.load import LoadedModel
from honed.store import artifacts, datasets
from honed.store.artifacts import Artifact
from honed.train import attention, batches, lora
from honed.train.batches import StepRows
from honed.train.config import TrainConfig
from honed.train.defaults import Facts, Settings, resolve
from honed.train.loop import Training
from honed.train.objectives.sft import Sft, head_is_plain, packing_is_exact
from honed.train.rows import Rows, encode, report_left_out

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Prepared:
    """Everything that a run starts from."""

    job: Job
    config: TrainConfig
    settings: Settings
    base: LoadedModel
    dataset: Artifact
    train: Rows
    heldout: Rows


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Train as ``config.yaml`` says, from the last checkpoint if there is one; return what ran and what came of it."""
    run = _prepare(job)
    model, config, settings = run.base.model, run.config, run.settings
    if job.status().attempt == 1:
        for reason in settings.reasons:
            job.log.note(reason)
    probe = batches.collate(run.train.encoded[:2])
    packing = config.packing and packing_is_exact(model, probe)
    if config.packing and not packing:
        job.log.note("packing is off: this model has layers that would mix neighbouring rows")
    objective = Sft(fused=head_is_plain(model, probe))
    adapters: list[str] = []
    if settings.weights == "lora":
        adapters = lora.add(
            model, rank=config.lora_rank, alpha=config.lora_alpha, dropout=config.lora_dropout, seed=config.seed
        )
    steps = batches.plan(
        [len(row.ids) for row in run.train.encoded],
        epochs=settings.epochs,
        batch_tokens=settings.batch_tokens,
        pack_tokens=settings.pack_tokens,
        packing=packing,
        seed=config.seed,
    )
    heldout = [row.unweighted for row in run.heldout.encoded]
    training = Training(model, objective, run.train.encoded, run.train.names, heldout, steps, settings, job, stopping)
    heldout_loss = training.run()
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    made = _publish(run)
    return {
        "model": made.ref,
        "model_hash": made.manifest.hash,
        "heldout_loss": heldout_loss,
        **_source(run, steps),
        "tokens_per_second": training.tokens / training.seconds if training.seconds else 0.0,
        "ran": {
            "objective": "sft",
            "weights": settings.weights,
            "adapters": len(adapters),
            "trainable_parameters": trainable,
            "device": settings.device,
            "precision": settings.precision,
            "attention": "sdpa per row",
            "packing": packing,
            "head": "supervised positions, fused" if objective.fused else "supervised positions, the model's own",
            "learning_rate": settings.learning_rate,
            "batch_tokens": settings.batch_tokens,
            "pack_tokens": settings.pack_tokens,
            "ranks": 1,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "machine": platform.machine(),
        },
        "reasons": list(settings.reasons),
    }


def _prepare(job: Job) -> Prepared:
    config = settings_file.read(TrainConfig, job.path / "config.yaml")
    dataset = artifacts.resolve(job.workspace, "datasets", config.data)
    device = devices.choose_device(config.device)
    precision, why = (
        devices.faster_precision(device) if config.precision == "auto" else (config.precision, "as it was set")
    )
    torch.manual_seed(config.seed)
    attention.register()
    models.locate(config.base, job.workspace, say=job.log.note)  # fetches what isn't here, and says so
    base = models.load(
        config.base,
        job.workspace,
        dtype=DTYPES[precision],
        device=device,
        attention=attention.NAME,
        template=config.template,
    )
    limit = min(config.max_length or base.context, base.context)
    train = encode(datasets.rows(dataset, "train", config.rows), base.chat, limit)
    report_left_out(job, train, dataset)
    facts = Facts(
        parameters=sum(p.numel() for p in base.model.parameters()),
        lengths=[len(row.ids) for row in train.encoded],
        memory=_free_memory(device),
        device=device,
        precision=precision,
        precision_reason=why,
    )
    heldout = encode(datasets.rows(dataset, "heldout", config.eval_rows), base.chat, limit)
    return Prepared(job, config, resolve(config, facts), base, dataset, train, heldout)


def _source(run: Prepared, steps: list[StepRows]) -> dict[str, Any]:
    """What went in: the model, the data, and how much of it, each row as often as it was seen."""
    seen = [run.train.encoded[index] for step in steps for pack in step.packs for index in pack]
    return {
        "base": run.base.ref,
        "base_hash": run.base.hash,
        "template_hash": run.base.chat.hash,
        "data": run.dataset.ref,
        "rows": len(run.train.encoded),
        "left_out": len(run.train.left_out),
        "epochs": run.settings.epochs,
        "steps": len(steps),
        "dataset_tokens": sum(len(row.ids) for row in seen),
        "supervised_tokens": sum(row.supervised for row in seen),
    }


def _publish(run: Prepared) -> Artifact:
    """Save the model, adapters merged, as the next version of its name; PEFT can read the adapters beside it."""
    job, config, base = run.job, run.config, run.base
    assert config.name is not None, "run.py resolves it"
    with artifacts.draft(job.workspace, "models", config.name) as scratch:
        if run.settings.weights == "lora":
            lora.save(
                base.model,
                scratch / "adapter",
                base=base.ref,
                rank=config.lora_rank,
                alpha=config.lora_alpha,
                dropout=config.lora_dropout,
            )
            lora.merge(base.model)
        saving.save(base.model, base.chat, scratch)
        made = artifacts.publish(
            scratch,
            "models",
            parents={base.ref: base.hash, run.dataset.ref: run.dataset.manifest.hash},
            config=config.model_dump(mode="json"),
            facts={"job": job.id, "template_hash": base.chat.hash, "weights": run.settings.weights},
        )
    job.log.write(ArtifactMade(name=made.ref, path=str(made.path)))
    return made


def _free_memory(device: str) -> int:
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)


if __name__ == "__main__":
    worker.main(work)
