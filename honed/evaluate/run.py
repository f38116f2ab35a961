"""Start an evaluation: workspace + settings -> job."""

from __future__ import annotations

from typing import Any

from honed import segments
from honed.errors import ConfigError
from honed.evaluate.config import EvaluateConfig
from honed.evaluate.harness import names
from honed.evaluate.scorers import own
from honed.evaluate.suites import chosen
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.job import Job
from honed.models.load import pinned
from honed.store import artifacts
from honed.store.workspace import Workspace


def run(workspace: Workspace, config: EvaluateConfig) -> Job:
    """Start the worker and return its job at once; follow it with ``honed.jobs.launch.follow``.

    The versions of dataset and model are resolved now and kept, and a file of segments is read, so that a resumed job
    asks the same model about the same rows. Raises, before anything is written, ``StoreError`` if there is no such
    dataset, ``ConfigError`` if there is no such suite or scorer, a harness isn't installed or the segments can't be
    read, ``JobError`` if there is no such evaluation of the base.
    """
    source: dict[str, Any] = {}
    if config.data is not None:
        source["data"] = artifacts.resolve(workspace, "datasets", config.data).ref
    if config.suite is not None and names.harness(config.suite):
        source["suite"] = names.pinned(config.suite)
    elif config.suite is not None:
        source["suite"] = chosen.pinned(config.suite)
        if "max_tokens" not in config.model_fields_set and (asked := chosen.max_tokens(config.suite)):
            source["max_tokens"] = asked
    if config.scorer is not None:
        source["scorer"] = own.pinned(config.scorer)
    if config.base is not None:
        source["base"] = jobs.find(workspace, config.base).id
    if config.endpoint is None:
        source["model"] = pinned(workspace, config.model)
    config = ruled(config).model_copy(update=source)
    job = jobs.create(workspace, "evaluate", config)
    launch.start(job)
    return job


def ruled(config: EvaluateConfig) -> EvaluateConfig:
    """Return the settings with the rules of the file of segments that they name, if they name one."""
    names, rules = segments.named(config.segments)
    if rules and config.rules:
        raise ConfigError(f"segments: {', '.join(config.segments)} and more rules", "Name one file of segments.")
    return config.model_copy(update={"segments": names, "rules": rules}) if rules else config
