"""The door to a round: workspace + settings -> a job that drives the other stages' jobs."""

from __future__ import annotations

import os

from honed.errors import ConfigError, StoreError
from honed.evaluate.gate import ruled
from honed.evaluate.suites import chosen
from honed.evaluate.suites.suite import pinned as pinned_suite
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.job import Job
from honed.models.load import pinned
from honed.rounds import plan
from honed.rounds.config import RoundConfig
from honed.rounds.gate import SuiteConfig
from honed.store import aliases, artifacts
from honed.store.workspace import Workspace
from honed.train.run import check_name

_SECRET = {"password", "sslpassword"}
"""What a PostgreSQL URL may say behind its question mark that nobody else should read."""


def run(workspace: Workspace, config: RoundConfig) -> Job:
    """Check what can be checked at once, fix every version, write the job's folder and start its worker.

    Raises ``ConfigError`` or ``StoreError`` before anything is written: a wrong key in ``sft``, ``dpo`` or
    ``evaluate``, a missing dataset, an alias that names no model yet.
    """
    job = jobs.create(workspace, "rounds", resolved(workspace, config))
    launch.start(job)
    return job


def resolved(workspace: Workspace, config: RoundConfig) -> RoundConfig:
    """Return the settings with every model and dataset as ``name@vN``, checked as ``run`` says."""
    live = aliases.target(workspace, config.alias)
    if live is None:
        raise StoreError(
            f"no model of {workspace.path} is {config.alias!r} yet, so there is nothing to compare with",
            f"Name the one in use: honed promote MODEL --alias {config.alias} --why 'the first'",
        )
    if config.name in (config.alias, *aliases.names(workspace)):
        raise ConfigError(f"round {config.name}: {config.name!r} is an alias", "Choose another name for the round.")
    for made in (config.name, f"{config.name}-sft"):
        check_name(workspace, made)
    _check_database(config)
    data = artifacts.resolve(workspace, "datasets", config.data).ref
    suites = tuple(_pinned(workspace, suite) for suite in config.suites)
    names = [suite.name for suite in suites]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"round {config.name}: suites: {twice!r} is there twice", "Name each dataset or suite once.")
    if config.gate.primary is not None:
        raise ConfigError(f"round {config.name}: gate.primary: the suites of a round have roles", "Set role: improve.")
    base = pinned(workspace, config.base)
    gate = ruled(config.gate)
    config = config.model_copy(update={"data": data, "suites": suites, "base": base, "gate": gate})
    plan.wants_preferences(config)
    for objective in ("sft", "dpo"):
        plan.training(config, objective, base, data, config.name)
    for suite in suites:
        plan.evaluation(config, suite, live)
    return config


def _pinned(workspace: Workspace, suite: SuiteConfig) -> SuiteConfig:
    """Return a suite with its dataset's version; one that isn't a dataset is read once, to be sure that it can be."""
    if suite.suite is None:
        assert suite.data is not None, "the settings hold one of both"
        return suite.model_copy(update={"data": artifacts.resolve(workspace, "datasets", suite.data).ref})
    chosen.read((suite.suite,))
    return suite if suite.suite in chosen.GROUPS else suite.model_copy(update={"suite": pinned_suite(suite.suite)})


def database_url(config: RoundConfig) -> str | None:
    """Return the URL of the feedback's database, None for the workspace's own.

    Raises ``ConfigError`` if the environment variable that is to hold it is empty.
    """
    name = config.database or ""
    if not name.startswith("$"):
        return config.database
    if url := os.environ.get(name[1:]):
        return url
    raise ConfigError(f"round {config.name}: database: {name[1:]} isn't set", f"Set {name[1:]} to the database's URL.")


def _check_database(config: RoundConfig) -> None:
    """Refuse a password in the settings: they are kept in the job's folder and in the round's manifest."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    where = f"round {config.name}: database"
    if (url := database_url(config)) is None:
        return
    try:
        told = make_url(url)
        password = told.password or _SECRET & {key.lower() for key in told.query}
    except (ArgumentError, ValueError) as error:
        raise ConfigError(f"{where}: not a URL", "Write postgresql://USER@HOST/NAME or sqlite:///PATH.") from error
    if password and url == config.database:
        raise ConfigError(
            f"{where}: a round keeps its settings, so no password may stand there",
            "Put the URL into an environment variable and write database: $NAME, or use PGPASSWORD.",
        )
