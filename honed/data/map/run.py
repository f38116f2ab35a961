"""The door to a map: settings in, a running job out. Loads no data and no model."""

from __future__ import annotations

from honed.data.map.config import MapConfig
from honed.data.score.needs import settled
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.job import Job
from honed.store import artifacts
from honed.store.workspace import Workspace


def run(workspace: Workspace, config: MapConfig) -> Job:
    """Start the map as a job and return it: its result is a ``Coverage``, its page lies in the job's folder.

    Raises ``StoreError`` if there is no such dataset or target.
    """
    dataset = artifacts.resolve(workspace, "datasets", config.dataset)
    update = {"dataset": dataset.ref, "measure": settled(workspace, (), config.measure)}
    job = jobs.create(workspace, "map", config.model_copy(update=update))
    launch.start(job)
    return job
