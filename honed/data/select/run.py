"""The door to selecting: settings in, a running job out. Loads no data and no model."""

from __future__ import annotations

from honed.data.score.needs import settled
from honed.data.select.config import SelectConfig
from honed.errors import DataError
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.job import Job
from honed.store import artifacts
from honed.store.workspace import Workspace


def run(workspace: Workspace, config: SelectConfig) -> Job:
    """Start the selection as a job and return it: its result names the new dataset and the random one beside it.

    Raises ``DataError`` if more rows are asked for than there are, ``ConfigError`` if a selector lacks a model or a
    target, ``StoreError`` if there is no such dataset.
    """
    dataset = artifacts.resolve(workspace, "datasets", config.dataset)
    rows = int(dataset.manifest.facts["train"])
    if config.count >= rows:
        raise DataError(
            f"{dataset.ref} has {rows:,} training rows, so {config.count:,} of them are no selection",
            f"Choose fewer: --count {max(1, rows // 3)}",
        )
    measure = settled(workspace, config.by, config.measure)
    job = jobs.create(workspace, "select", config.model_copy(update={"dataset": dataset.ref, "measure": measure}))
    launch.start(job)
    return job
