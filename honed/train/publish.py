"""What a run leaves behind: the model as an artifact, and what really ran, went in and came of it."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from honed import config as settings_file
from honed.errors import ModelError
from honed.jobs.events import ArtifactMade, Step, since_anew
from honed.jobs.job import Job
from honed.models import load as models
from honed.models import save as saving
from honed.store import artifacts
from honed.store.artifacts import Artifact
from honed.store.workspace import writing
from honed.train import adapters, attention, neftune
from honed.train.config import TrainConfig
from honed.train.layout import Layout
from honed.train.lora import LoraLinear
from honed.train.objectives.kinds import KINDS
from honed.train.prepare import Prepared, template_of
from honed.train.source import Stream

_LAST = 0.1
"""Share of the steps over which the numbers of the end are means: a single step has few examples."""

_OF_THE_STEP = ("learning_rate", "gradient_norm", "tokens_per_second", "computed_tokens")


def publish(run: Prepared) -> Artifact:
    """Save the model, adapters merged, as the next version of its name; PEFT can read the adapters beside it."""
    job, config, base = run.job, run.config, run.base
    assert config.name is not None, "run.py resolves it"
    with artifacts.draft(job.workspace, "models", config.name) as scratch:
        if run.adapters:
            findable = models.locate(config.base, job.workspace).findable
            adapters.save(base.model, run.adapters, scratch / "adapter", base=findable)
            adapters.merge(base.model)
        saving.save(base.model, base.chat, scratch)
        # Beside a tokenizer with more ids than there are embeddings PEFT would make rows up.
        if run.adapters and len(base.chat.tokenizer) <= base.model.get_input_embeddings().weight.shape[0]:
            saving.copy_chat(scratch, scratch / "adapter")
        if not base.text_part:
            _copy_processors(run, scratch)
        made = artifacts.publish(
            scratch,
            "models",
            parents={base.ref: base.hash, f"datasets/{run.dataset.ref}": run.dataset.manifest.hash},
            config=settings_file.read(TrainConfig, job.path / "config.yaml").model_dump(mode="json"),  # as it was asked
            facts={
                "job": job.id,
                "template_hash": base.chat.hash,
                "weights": run.settings.weights,
                "objective": config.objective,
            },
        )
    job.log.write(ArtifactMade(name=made.ref, path=str(made.path)))
    return made


def _copy_processors(run: Prepared, folder: Path) -> None:
    """Copy what no server takes pictures or sound without; not from a base that has gone since it was read."""
    with suppress(ModelError), writing(folder):
        base = models.locate(run.config.base, run.job.workspace).folder
        own = (base.resolve(), base.resolve().parent.parent / "blobs")  # a hub's snapshot links to these
        for path in base.glob("*processor_config.json"):
            if not any(map(path.resolve().is_relative_to, own)):  # a link to somebody's secret
                continue
            with suppress(ValueError):
                (folder / path.name).write_text(json.dumps(json.loads(path.read_bytes()), indent=2), encoding="utf-8")


def source(run: Prepared, steps: int, seen: Mapping[str, int]) -> dict[str, Any]:
    """What went in: the model, the data, and how much of it (``steps.Steps.seen``)."""
    return {
        "base": run.base.ref,
        "base_hash": run.base.hash,
        "template_hash": run.base.chat.hash,
        "data": run.dataset.ref,
        "epochs": run.settings.epochs,
        "steps": steps,
        **seen,
        "computed_tokens": round(sum(values["computed_tokens"] for values in _seen(run.job).values())),
    }


def ended(job: Job, steps: int) -> dict[str, float]:
    """The loss, and what else the objective tells, as means over the last tenth of ``steps``.

    Read from the events, so that a run which was resumed says the same as one which wasn't.
    """
    first = steps - max(1, round(_LAST * steps)) + 1
    last = [values for step, values in _seen(job).items() if step >= first]
    names = [name for name in next(reversed(last), {}) if name not in _OF_THE_STEP]
    return {name: fmean(values[name] for values in last) for name in names}


def _seen(job: Job) -> dict[int, Mapping[str, float]]:
    """What the events say of each step; of one that was done again, the last time."""
    events = since_anew(job.events())
    return {event.step: event.values for event in events if isinstance(event, Step) and event.stage == "train"}


def ran(run: Prepared, layout: Layout, *, adapted: int, trainable: int) -> dict[str, Any]:
    """What really ran, whatever was asked for."""
    train = run.train
    window = (
        {"stream_rows": train.window_rows(run.config.stream_rows, run.settings.batch_tokens)}
        if isinstance(train, Stream)
        else {}
    )
    config, settings = run.config, run.settings
    reference = (
        {"reference": f"{run.base.ref}, once for its data, before the first step"}
        if KINDS[config.objective].refers
        else {}
    )
    return {
        "objective": config.objective,
        **KINDS[config.objective].settings(config.preference),
        **reference,
        "neftune_alpha": neftune.added(run.base.model),
        "weights": settings.weights,
        "adapters": adapted,
        **_adapted(run),
        "trainable_parameters": trainable,
        "device": settings.device,
        "precision": settings.precision,
        "attention": _attention(layout),
        "packing": layout.packed,
        "sharing": layout.shared,
        "stream": isinstance(train, Stream),
        **window,
        "head": "supervised positions, fused" if layout.head.fused else "supervised positions, the model's own",
        "learning_rate": settings.learning_rate,
        "schedule": settings.schedule,
        "average": settings.average,
        "warmup": settings.warmup,
        "weight_decay": settings.weight_decay,
        "clip_norm": settings.clip_norm,
        "optimizer": "AdamW, betas 0.9 and 0.999",
        "seed": settings.seed,
        "template": template_of(config, run.base.chat),
        "batch_tokens": settings.batch_tokens,
        "pack_tokens": layout.settings.pack_tokens,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def _attention(layout: Layout) -> str:
    few, layers = layout.by_plain
    return attention.short(layout.attention) + (f", plain torch in {few} of {layers} layers" if few else "")


def _adapted(run: Prepared) -> dict[str, Any]:
    """How the adapters were made, and which weights they were trained beside and merged into."""
    if run.adapters is None:
        return {}
    quantised = run.settings.weights == "qlora"
    return {
        "lora_rank": run.adapters.rank,
        "lora_scale": run.adapters.scale,
        "lora_dropout": max((m.dropout for m in run.base.model.modules() if isinstance(m, LoraLinear)), default=0.0),
        "dora": run.adapters.dora,
        "base_weights": "nf4, double-quantised" if quantised else run.settings.precision,
        "merged_into": "the base as its 4-bit codes give it" if quantised else "the base",
    }
