"""What a training keeps in its job's folder besides what every job has, and whether the disk has room for it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from honed.errors import StoreError
from honed.jobs.job import Job

CHECKPOINTS = "checkpoints"
"""What a resume goes on from, and the best weights of a run that keeps them."""

_OF_A_CHECKPOINT, _OF_THE_BEST, _OF_THE_MEAN = 12, 4, 4
"""Bytes for every trained weight: itself and two moments in fp32; itself; its mean, in a checkpoint."""


@dataclass(frozen=True)
class Disk:
    """Bytes that a training writes: the model at its end; at most so much more while it runs; and what is free."""

    model: int
    checkpoints: int
    free: int

    @property
    def most(self) -> int:
        """Bytes that are there at one time, at most."""
        return self.model + self.checkpoints


def of_checkpoint(trained: int, *, average: bool) -> int:
    """Return the bytes of a checkpoint of so many trained weights."""
    return trained * (_OF_A_CHECKPOINT + (_OF_THE_MEAN if average else 0))


def disk(path: Path, *, model: int, trained: int, keep: int, best: bool, average: bool) -> Disk:
    """Return what a run needs whose model has ``model`` bytes and ``trained`` weights that learn.

    ``keep`` checkpoints stay, and one more until the newest has proved good; ``best``: and the best weights, twice
    while others take their place; ``average``: the mean is in each.
    """
    checkpoints = (keep + 1) * of_checkpoint(trained, average=average) + (2 * trained * _OF_THE_BEST if best else 0)
    return Disk(model, checkpoints, shutil.disk_usage(path).free)


def check(job: Job, found: Disk) -> None:
    """Say so if the disk may become full on the way; ``StoreError`` if there is no room for the model alone."""
    if found.free < found.model:
        raise StoreError(
            f"{job.path}: the model will take {found.model / 1e9:.1f} GB, and {found.free / 1e9:.1f} GB are free",
            f"Free space, then: honed jobs resume {job.id}",
        )
    if found.free < found.most:
        job.log.note(
            f"the disk may become full: {found.free / 1e9:.1f} GB are free, and checkpoints and model take up to "
            f"{found.most / 1e9:.1f} GB"
        )


def tidy(job: Job) -> None:
    """Drop the checkpoints of a job that is done: the model is published, and a done job isn't resumed.

    They are 12 bytes for every trained weight, or 16. What can't be dropped stays, and harms nobody.
    """
    shutil.rmtree(job.path / CHECKPOINTS, ignore_errors=True)
