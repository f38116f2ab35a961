"""From a job's settings to all that its training starts from: model, examples, held-out rows, nothing left open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psutil
import torch

from honed import config as settings_file
from honed.jobs.job import Job
from honed.models import devices
from honed.models import load as models
from honed.models.chat import Encoded
from honed.models.load import LoadedModel
from honed.store import artifacts, datasets
from honed.store.artifacts import Artifact
from honed.train import attention
from honed.train.config import TrainConfig
from honed.train.defaults import Facts, Settings, resolve
from honed.train.objectives.table import OBJECTIVES
from honed.train.rows import Rows, encode, report_left_out

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Prepared:
    """Everything that a run starts from. ``train`` holds what the objective learns from."""

    job: Job
    config: TrainConfig
    settings: Settings
    base: LoadedModel
    dataset: Artifact
    train: Rows[Any]
    heldout: Rows[Encoded]


def prepare(job: Job) -> Prepared:
    """Load what ``config.yaml`` names and choose what it leaves open; lists what can't be used.

    Raises ``HonedError`` if the model can't be loaded, or ``DataError`` if nothing in the dataset can be used.
    """
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
    train = OBJECTIVES[config.objective].read(dataset, base.chat, limit, config.rows)
    report_left_out(job, train, dataset)
    facts = Facts(
        parameters=sum(p.numel() for p in base.model.parameters()),
        lengths=train.lengths,
        memory=_free_memory(device),
        device=device,
        precision=precision,
        precision_reason=why,
    )
    heldout = encode(datasets.rows(dataset, "heldout", config.eval_rows), base.chat, limit)
    return Prepared(job, config, resolve(config, facts), base, dataset, train, heldout)


def _free_memory(device: str) -> int:
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)
