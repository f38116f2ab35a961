"""The door to training: workspace + settings -> a job that runs in its own process."""

from __future__ import annotations

import re

from honed import config as settings_file
from honed.errors import ConfigError, DataError, JobError, StoreError
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.job import Job
from honed.models import devices, embedded
from honed.models.load import pinned
from honed.store import aliases, artifacts, datasets
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace
from honed.train.config import TrainConfig
from honed.train.defaults import check_installed
from honed.train.objectives.kinds import KINDS


def run(workspace: Workspace, config: TrainConfig) -> Job:
    """Check what can be checked at once, write the job's folder and start its worker.

    Raises ``StoreError`` if there is no such dataset or no model can have the name, ``DataError`` if the dataset has
    nothing that the objective learns from or the settings measure on, ``ConfigError`` if a library that the settings
    need isn't installed; before anything is written.
    """
    return _started(workspace, config, "train")


def plan(workspace: Workspace, config: TrainConfig) -> Job:
    """Start the job that finds out what a training would take. Checks and raises as ``run`` does."""
    return _started(workspace, config, "plan")


def _started(workspace: Workspace, config: TrainConfig, work: str) -> Job:
    dataset = artifacts.resolve(workspace, "datasets", config.data)
    ranks = ranks_of(config.ranks, config.on)
    check_installed(config.weights, config.on)
    _check_data(dataset, config)
    base = pinned(workspace, config.base)
    name = config.name or _name(base, dataset.manifest.name, config.objective)
    check_name(workspace, name)
    chosen = {"base": base, "data": dataset.ref, "name": name, "ranks": ranks}
    job = jobs.create(workspace, work, config.model_copy(update=chosen))
    launch.start(job)
    return job


def resume(job: Job, ranks: int) -> None:
    """Start a stopped, interrupted or failed job again, on ``ranks`` ranks (0: one per GPU).

    Raises ``JobError`` if it can't be resumed, or isn't a training.
    """
    if job.status().stage != "train":
        raise JobError(
            f"job {job.id} isn't a training: it has no ranks", f"Without --ranks: honed jobs resume {job.id}"
        )
    config = settings_file.read(TrainConfig, job.path / "config.yaml")
    launch.resume(job, config.model_copy(update={"ranks": ranks_of(ranks, config.on)}))


def ranks_of(asked: int, on: str | None) -> int:
    """How many ranks there are to be; 0 is one for each GPU of this machine."""
    if asked == 0 and on and "://" in on:
        raise ConfigError(f"ranks 0, and the GPUs of {on} can't be counted from here", "Say how many ranks to run.")
    return asked or max(1, devices.gpus())


def check_name(workspace: Workspace, name: str, hint: str = "Choose another --name.") -> None:
    """Raise ``StoreError``, with ``hint``, if no model can have the name, or another thing has it already."""
    artifacts.check_name("models", name)
    if name == embedded.NAME or aliases.target(workspace, name):
        what = "the model that honed brings" if name == embedded.NAME else "an alias of this workspace"
        raise StoreError(f"{name!r} can't be a name of models: it is that of {what}", hint)


def _check_data(dataset: Artifact, config: TrainConfig) -> None:
    """Raise ``DataError`` if the settings ask for what the dataset hasn't; what it has instead is said."""
    objective, facts = config.objective, dataset.manifest.facts
    if config.keep_best and facts.get("heldout") == 0:
        raise DataError(
            f"keep_best needs a held-out loss, and {dataset.ref} holds out no rows",
            "Leave out keep_best, or import the data again with more held out: honed data import FILE --as NAME "
            "--heldout 0.2",
        )
    learns = KINDS[objective].learns
    rows = facts.get("train") != 0
    pairs, ratings = (next(read(dataset, 1), None) is not None for read in (datasets.preferences, datasets.ratings))
    if {"rows": rows, "preferences": pairs, "answers": pairs or ratings}[learns]:
        return
    what, ways = _LACKING[learns]
    if learns == "rows" and (pairs or ratings):
        what = f"{'preferences' if pairs else 'ratings'} and {what}"
    others = [
        (pairs, "Learn its preferences: --objective dpo (orpo, simpo, kto)."),
        (ratings, "Learn its ratings: --objective kto."),
        (rows, "Learn its rows: --objective sft."),
    ]
    hint = " ".join([*(way for there, way in others if there), f"{ways}: honed data import FILE --as NAME"])
    raise DataError(f"{dataset.ref} has {what}, and {objective} learns from nothing else", hint)


_LACKING = {
    "rows": ("no rows to train on", "Import rows, or hold out fewer (--heldout)"),
    "preferences": ("no preferences", "Preferences come from feedback, or from files of chosen and rejected answers"),
    "answers": ("neither ratings nor preferences", "Ratings come from feedback, or from files of answers with a label"),
}
"""What a dataset has none of, by what an objective learns from (``kinds.Kind.learns``), and where that comes from."""


def _name(base: str, data: str, objective: str) -> str:
    """The default name, one that a model may have: it begins with what the base's folder or the dataset does."""
    stem = base.rstrip("/").rpartition("/")[2].partition("@")[0].removesuffix(".gguf")
    end = "" if objective == "sft" else f"-{objective}"
    name = re.sub(r"[^a-z0-9._-]+", "-", f"{stem}-{data}".lower()).strip("-._")
    return name[: 64 - len(end)] + end
