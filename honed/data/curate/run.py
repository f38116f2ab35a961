"""The door to curating: settings in, a running job out. Loads no data and no model."""

from __future__ import annotations

from pathlib import Path

from honed.data.curate.recipe import CurateConfig
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.job import Job
from honed.store import artifacts
from honed.store.workspace import Workspace


def run(workspace: Workspace, config: CurateConfig) -> Job:
    """Start the curation as a job and return it: its result names the new dataset.

    The dataset's version is settled now, and paths become absolute: a job may be resumed from another folder. Raises
    ``StoreError`` if there is no such dataset.
    """
    dataset = artifacts.resolve(workspace, "datasets", config.dataset)
    against = tuple(absolute(one) for one in config.decontaminate.against)
    update = {
        "dataset": dataset.ref,
        "decontaminate": config.decontaminate.model_copy(update={"against": against}),
    }
    job = jobs.create(workspace, "curate", config.model_copy(update=update))
    launch.start(job)
    return job


def absolute(name: str) -> str:
    """Return a path as an absolute one; a plain word is a name, even if a folder is called so."""
    path = Path(name)
    return str(path.resolve()) if ("/" in name or path.suffix) and path.exists() else name
