"""A job that has ended, with an event of every kind."""

from __future__ import annotations

import time

import pytest

from honed.jobs import job as jobs
from honed.jobs.events import ArtifactMade, Done, Metric, SampleMade, Step
from honed.jobs.job import Job
from honed.store.workspace import Workspace
from tests.jobs.counting import CountConfig


@pytest.fixture
def job(workspace: Workspace) -> Job:
    """Three steps, a held-out loss, an answer, an artifact and a result; not done yet: ``end`` does that."""
    made = jobs.create(workspace, "counting", CountConfig(steps=3, fail="user"))
    made.log.note("counting <b>from</b> 0")
    for step in (1, 2, 3):
        made.log.write(Step(stage="sft: train", step=step, total=3, values={"loss": 1 / step, "tokens_per_second": 9}))
    made.log.write(Metric(name="heldout_loss", value=0.5, step=3))
    made.log.write(SampleMade(row="r1", answer="billing", passed=True))
    made.log.write(ArtifactMade(name="m@v1", path="/somewhere"))
    return made


def end(job: Job) -> None:
    """Let the job be done, with a result."""
    job.log.write(Done(seconds=2.5))
    job.set_result({"model": "m@v1", "loss": 0.25, "ran": {"device": "cpu", "learning_rate": 0.001}, "seconds": 2.5})
    job.set_status(job.status().model_copy(update={"state": "done", "ended": time.time()}))
