"""The door to training: workspace + settings -> a job that runs in its own process."""

from __future__ import annotations

import re

from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.job import Job
from honed.store import aliases, artifacts
from honed.store.workspace import Workspace
from honed.train.config import TrainConfig


def run(workspace: Workspace, config: TrainConfig) -> Job:
    """Check what can be checked at once, write the job's folder and start its worker.

    Raises ``StoreError`` if there is no such dataset, before anything is written.
    """
    dataset = artifacts.resolve(workspace, "datasets", config.data)
    base = aliases.resolve(workspace, config.base)  # now: an alias may have moved when the job is resumed
    name = config.name or _name(base, dataset.manifest.name)
    job = jobs.create(workspace, "train", config.model_copy(update={"base": base, "data": dataset.ref, "name": name}))
    launch.start(job)
    return job


def _name(base: str, data: str) -> str:
    stem = base.rstrip("/").rpartition("/")[2].partition("@")[0].removesuffix(".gguf")
    return re.sub(r"[^a-z0-9._-]+", "-", f"{stem}-{data}".lower()).strip("-.")[:64]
