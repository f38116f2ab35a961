"""The training process: ``python -m honed.train.worker <job folder>``."""

from __future__ import annotations

import platform
import resource
from collections.abc import Callable
from typing import Any

import psutil
import torch
from transformers import PreTrainedModel

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
from honed.train.config import TrainConfig
from honed.train.defaults import Facts, Settings, resolve
from honed.train.loop import Training
from honed.train.objectives.sft import Sft, head_is_plain, packing_is_exact
from honed.train.rows import Rows, encode, report_left_out

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Train as ``config.yaml`` says, from the last checkpoint if there is one; return what ran and what came of it."""
    config = settings_file.read(TrainConfig, job.path / "config.yaml")
    dataset = artifacts.resolve(job.workspace, "datasets", config.data)
    device = devices.choose_device(config.device)
    precision, why = (config.precision, "as set")
    if precision == "auto":
        precision, why = devices.faster_precision(device)
    torch.manual_seed(config.seed)
    attention.register()
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
    heldout = encode(datasets.rows(dataset, "heldout", config.eval_rows), base.chat, limit)
    report_left_out(job, train, dataset)
    facts = Facts(
        parameters=sum(p.numel() for p in base.model.parameters()),
        lengths=[len(row.ids) for row in train.encoded],
        memory=_free_memory(device),
        device=device,
        precision=precision,
        precision_reason=why,
    )
    settings = resolve(config, facts)
    if job.status().attempt == 1:
        for reason in settings.reasons:
            job.log.note(reason)
    return _train(job, stopping, config, settings, base, dataset, train, heldout)


def _train(  # noqa: PLR0913 - the parts of one run, each made by its own step of ``work``
    job: Job,
    stopping: Callable[[], bool],
    config: TrainConfig,
    settings: Settings,
    base: LoadedModel,
    dataset: Artifact,
    train: Rows,
    heldout: Rows,
) -> dict[str, Any]:
    model = base.model
    probe = batches.collate(train.encoded[:2])
    exact = packing_is_exact(model, probe)
    if config.packing and not exact:
        job.log.note("packing is off: this model has layers that would mix neighbouring rows")
    objective = Sft(fused=head_is_plain(model, probe))
    adapters: list[str] = []
    if settings.weights == "lora":
        adapters = lora.add(
            model, rank=config.lora_rank, alpha=config.lora_alpha, dropout=config.lora_dropout, seed=config.seed
        )
    steps = batches.plan(
        [len(row.ids) for row in train.encoded],
        epochs=settings.epochs,
        batch_tokens=settings.batch_tokens,
        pack_tokens=settings.pack_tokens,
        packing=config.packing and exact,
        seed=config.seed,
    )
    training = Training(model, objective, train.encoded, train.names, heldout.encoded, steps, settings, job, stopping)
    heldout_loss = training.run()
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    made = _publish(job, config, settings, base, dataset)
    return {
        "model": made.ref,
        "model_hash": made.manifest.hash,
        "base": base.ref,
        "base_hash": base.hash,
        "data": dataset.ref,
        "template_hash": base.chat.hash,
        "heldout_loss": heldout_loss,
        "rows": len(train.encoded),
        "left_out": len(train.left_out),
        "epochs": settings.epochs,
        "steps": len(steps),
        "dataset_tokens": sum(sum(len(train.encoded[i].ids) for p in s.packs for i in p) for s in steps),
        "supervised_tokens": sum(sum(train.encoded[i].supervised for p in s.packs for i in p) for s in steps),
        "tokens_per_second": training.tokens / training.seconds if training.seconds else 0.0,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "ran": {
            "objective": "sft",
            "weights": settings.weights,
            "adapters": len(adapters),
            "trainable_parameters": trainable,
            "device": settings.device,
            "precision": settings.precision,
            "attention": "sdpa per row",
            "packing": config.packing and exact,
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


def _publish(job: Job, config: TrainConfig, settings: Settings, base: LoadedModel, dataset: Artifact) -> Artifact:
    assert config.name is not None, "run.py resolves it"
    model: PreTrainedModel = base.model
    with artifacts.draft(job.workspace, "models", config.name) as scratch:
        if settings.weights == "lora":
            lora.save(
                model,
                scratch / "adapter",
                base=base.ref,
                rank=config.lora_rank,
                alpha=config.lora_alpha,
                dropout=config.lora_dropout,
            )
            lora.merge(model)
        saving.save(model, base.chat, scratch)
        made = artifacts.publish(
            scratch,
            "models",
            parents={base.ref: base.hash, dataset.ref: dataset.manifest.hash},
            config=config.model_dump(mode="json"),
            facts={"job": job.id, "template_hash": base.chat.hash, "weights": settings.weights},
        )
    job.log.write(ArtifactMade(name=made.ref, path=str(made.path)))
    return made


def _free_memory(device: str) -> int:
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)


if __name__ == "__main__":
    worker.main(work)
