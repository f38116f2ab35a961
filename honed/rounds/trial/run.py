"""The door to a trial: two datasets and a base model -> a job that trains on both and says which is better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from honed.errors import DataError, StoreError
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.job import Job
from honed.models.load import pinned
from honed.rounds.curve.plan import HELD_OUT
from honed.rounds.trial import plan
from honed.rounds.trial.config import TrialConfig
from honed.store import artifacts, datasets
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace
from honed.train.config import TrainConfig
from honed.train.defaults import check_installed
from honed.train.run import check_name

_RANDOM = "-random"


def run(
    workspace: Workspace, training: TrainConfig, against: str | None = None, evaluation: Mapping[str, Any] | None = None
) -> Job:
    """Check what can be checked at once, fix every version, write the job's folder and start its worker.

    ``training.data`` is the selection; ``against`` is by default the random rows that were drawn beside it. Raises
    ``DataError`` if the two can't be compared: other held-out rows, or none; ``StoreError`` if one isn't there.
    """
    config = resolved(workspace, training, against, evaluation or {})
    job = jobs.create(workspace, "trial", config)
    launch.start(job)
    return job


def check(workspace: Workspace, training: TrainConfig) -> None:
    """Check that a selection of the rows ``training.data`` could be tried, before it is made. Raises as ``run``."""
    data = artifacts.resolve(workspace, "datasets", training.data)
    _check_measurable(data, data.manifest.facts["heldout"])
    check_installed(training.weights, training.on)


def resolved(
    workspace: Workspace, training: TrainConfig, against: str | None, evaluation: Mapping[str, Any]
) -> TrialConfig:
    """Return the settings with every version fixed; checked as ``run`` says."""
    data = artifacts.resolve(workspace, "datasets", training.data)
    other = artifacts.resolve(workspace, "datasets", against) if against else _beside(workspace, data)
    held = [{row.id for row in datasets.rows(one, "heldout")} for one in (data, other)]
    if held[0] != held[1]:
        hint = "Compare two selections of one dataset: honed data select keeps its held-out rows."
        raise DataError(f"{data.ref} and {other.ref} hold out other rows, so nothing can be compared", hint)
    _check_measurable(data, len(held[0]))
    own = training.model_dump(mode="json", exclude={"data", "base", "name"}, exclude_defaults=True)
    config = TrialConfig(
        data=data.ref,
        against=other.ref,
        base=pinned(workspace, training.base),
        train=own,
        evaluate={"rows": min(HELD_OUT, len(held[0])), **evaluation},
    )
    check_installed(training.weights, training.on)
    for side in (data.ref, other.ref):
        made = plan.training(config, side, {}).name
        assert made is not None, "a trial names its models"
        check_name(workspace, made)
    plan.evaluation(config, config.base)
    return config


def _check_measurable(data: Artifact, heldout: int) -> None:
    if not heldout:
        hint = "Hold some out: import the data again with --heldout, then select."
        raise DataError(f"{data.ref} has no held-out rows, so nothing can be measured", hint)


def _beside(workspace: Workspace, data: Artifact) -> Artifact:
    """Return the newest random rows that were drawn from the same dataset as a selection."""
    name = f"{data.manifest.name}{_RANDOM}"
    found = [one for one in artifacts.listing(workspace, "datasets") if one.manifest.name == name]
    drawn = [one for one in found if one.manifest.parents == data.manifest.parents]
    same = [one for one in drawn if one.manifest.facts["train"] == data.manifest.facts["train"]]
    if not same:
        raise StoreError(
            f"there are no random rows beside {data.ref}: no {name} of the same number of rows and the same dataset",
            "Name what it is to be compared with: --against NAME",
        )
    return same[-1]
