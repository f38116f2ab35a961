"""The losses of a training run, read back from its job's events."""

from __future__ import annotations

from honed.errors import HonedError
from honed.jobs import job as jobs
from honed.jobs.events import Metric, Step, since_anew
from honed.jobs.job import Job
from honed.records import Record
from honed.store import artifacts
from honed.store.workspace import Workspace


class Curve(Record):
    """Losses while a model was trained, as (step, nats per supervised token).

    ``train`` is empty for a model that learned preferences: its loss is in nats per pair, on another scale.
    """

    train: tuple[tuple[int, float], ...]
    heldout: tuple[tuple[int, float], ...] = ()


def of_job(job: Job) -> Curve:
    """Return the losses of a training job; steps that were done again after a resume count once, the last time."""
    train: dict[int, float] = {}
    heldout: dict[int, float] = {}
    for event in since_anew(job.events()):
        if (
            isinstance(event, Step)
            and event.stage == "train"
            and "loss" in event.values
            and "margin" not in event.values
        ):
            train[event.step] = event.values["loss"]
        elif isinstance(event, Metric) and event.name == "heldout_loss":
            heldout[event.step] = event.value
    return Curve(train=tuple(sorted(train.items())), heldout=tuple(sorted(heldout.items())))


def of_model(workspace: Workspace, ref: str) -> Curve | None:
    """Return the losses of the job that made a model, or None if it wasn't trained in this workspace."""
    try:
        made_by = artifacts.resolve(workspace, "models", ref).manifest.facts["job"]
        return of_job(jobs.find(workspace, made_by))
    except (HonedError, KeyError):
        return None
