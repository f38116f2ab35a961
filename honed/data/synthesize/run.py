"""The door to synthesis: settings in, a running job out, or what it would take. Loads no model."""

from __future__ import annotations

from pathlib import Path
from random import Random

from honed import registry
from honed.data.curate.run import absolute
from honed.data.synthesize import asks, passages, plan
from honed.data.synthesize.config import SynthesizeConfig
from honed.data.synthesize.methods.constrain import ALONE
from honed.errors import ConfigError
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.job import Job
from honed.models import replies
from honed.models.load import pinned
from honed.models.remote import Estimate, RemoteEngine
from honed.store import artifacts
from honed.store.workspace import Workspace


def run(workspace: Workspace, config: SynthesizeConfig) -> Job:
    """Start the synthesis as a job and return it: its result names the new dataset.

    Versions are settled now, and paths become absolute: a job may be resumed from another folder. Raises
    ``ConfigError`` if the key isn't in the environment or a family isn't registered, ``StoreError`` or ``DataError`` if
    there are no seeds or documents.
    """
    job = jobs.create(workspace, "synthesize", settled(workspace, config))
    launch.start(job)
    return job


def settled(workspace: Workspace, config: SynthesizeConfig) -> SynthesizeConfig:
    """Return the settings with every version and path fixed. Raises as ``run`` does."""
    update: dict[str, object] = {"documents": tuple(str(path) for path in passages.files(config.documents))}
    if config.seeds is not None:
        update["seeds"] = artifacts.resolve(workspace, "datasets", config.seeds).ref
        if config.seeds.partition("@")[0] == config.name:
            raise ConfigError(
                f"name: {config.name} is the dataset of the seeds: its next version would hold made-up rows only",
                f"Choose another name, such as {config.name}-made.",
            )
    if config.wanted is not None:
        update |= _asked(config, Path(config.wanted))
    for family in config.families if config.method == "constrain" else ():
        if family not in registry.names("instructions"):
            registry.get("instructions", family)  # raises, naming the nearest
        if config.constraint.partition(":")[0] in ALONE:
            raise ConfigError(
                f"constraint: {config.constraint} is a request of its own, and can't be added to another",
                "Name another constraint of the family.",
            )
        if config.constraint:
            registry.get("instructions", family).draw(Random(0), including=config.constraint)  # raises if unknown
    if config.endpoint:
        config.endpoint.key()
    if config.local is not None:
        update["local"] = pinned(workspace, config.local)
    return config.model_copy(update=update)


def _asked(config: SynthesizeConfig, wanted: Path) -> dict[str, object]:
    """Return the document's own path, the sets to keep apart from by theirs, and how many rows it suggests in all."""
    suggested = sum(one.count for one in asks.read(wanted).wanted)
    return {
        "wanted": str(wanted.resolve()),
        "against": tuple(absolute(one) for one in config.against),
        "rows": config.rows if "rows" in config.model_fields_set else suggested,
    }


def estimate(workspace: Workspace, config: SynthesizeConfig) -> tuple[Estimate, str]:
    """Return what the synthesis would take, and that as a sentence; nothing is sent. Raises as ``run`` does."""
    config = settled(workspace, config)
    if not config.endpoint:
        raise ConfigError("a local model costs nothing but time", "Leave --estimate out.")
    planned = plan.made(workspace, config)
    with RemoteEngine(config.endpoint, replies.path(workspace)) as engine:
        found = plan.estimate(planned, engine.estimate)
    return found, plan.words(found, planned, config.attempts)
