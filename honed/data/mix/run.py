"""The door to mixing: settings in, a plan or a running job out. Loads no model."""

from __future__ import annotations

from honed import segments
from honed.data.mix import plan as plans
from honed.data.mix.plan import Plan
from honed.data.mix.recipe import MixConfig
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.job import Job
from honed.store import artifacts
from honed.store.workspace import Workspace


def settled(workspace: Workspace, config: MixConfig) -> MixConfig:
    """Return the settings with versions of datasets and the rules of segments written out: they hold from now on.

    Raises ``StoreError`` if there is no such dataset, ``ConfigError`` if the file of segments can't be read.
    """
    update = {"datasets": tuple(dataset.ref for dataset in plans.resolved(workspace, config).values())}
    settled = config.model_copy(update=update)
    if config.anchor:
        ref = artifacts.resolve(workspace, "datasets", config.anchor.dataset).ref
        settled = settled.model_copy(update={"anchor": config.anchor.model_copy(update={"dataset": ref})})
    if config.segments:
        settled = settled.model_copy(update={"segments": None, "rules": segments.read(config.segments)})
    return settled


def plan(workspace: Workspace, config: MixConfig) -> Plan:
    """Return what the mix would hold; nothing is written. Raises as ``settled`` and ``plan.plan`` do."""
    return plans.plan(workspace, settled(workspace, config))


def run(workspace: Workspace, config: MixConfig) -> Job:
    """Start the mix as a job and return it: its result names the new dataset. Raises as ``settled`` does."""
    job = jobs.create(workspace, "mix", settled(workspace, config))
    launch.start(job)
    return job
