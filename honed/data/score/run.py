"""The door to scoring: settings in, a running job out. Loads no data and no model."""

from __future__ import annotations

from honed.data.score.config import ScoreConfig
from honed.data.score.needs import settled
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.job import Job
from honed.store import artifacts
from honed.store.workspace import Workspace


def run(workspace: Workspace, config: ScoreConfig) -> Job:
    """Start scoring as a job and return it: its result sums up each score, ``scores.jsonl`` in its folder has all.

    Raises ``ConfigError`` if a score lacks a model or a target, ``StoreError`` if there is no such dataset.
    """
    dataset = artifacts.resolve(workspace, "datasets", config.dataset)
    update = {"dataset": dataset.ref, "measure": settled(workspace, config.by, config.measure)}
    job = jobs.create(workspace, "score", config.model_copy(update=update))
    launch.start(job)
    return job
