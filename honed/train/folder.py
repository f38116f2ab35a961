"""What a training keeps in its job's folder besides what every job has."""

from __future__ import annotations

import shutil

from honed.jobs.job import Job

CHECKPOINTS = "checkpoints"
"""What a resume goes on from, and the best weights of a run that keeps them."""


def tidy(job: Job) -> None:
    """Drop the checkpoints of a job that is done: the model is published, and a done job isn't resumed.

    They are 12 bytes for every trained weight. What can't be dropped stays, and harms nobody.
    """
    shutil.rmtree(job.path / CHECKPOINTS, ignore_errors=True)
