"""The door to judging: settings in, a running job out. Loads no model, and asks nobody."""

from __future__ import annotations

from pathlib import Path

from honed import segments
from honed.errors import DataError
from honed.evaluate.judge import answers
from honed.evaluate.judge.config import JudgeConfig
from honed.evaluate.judge.trusted import STAGE
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.job import Job
from honed.models.load import pinned
from honed.store.workspace import Workspace


def run(workspace: Workspace, config: JudgeConfig) -> Job:
    """Start judging as a job and return it at once; follow it with ``honed.jobs.launch.follow``.

    Raises, before anything is written, ``JobError`` or ``DataError`` if what is to be judged isn't there, and
    ``ConfigError`` if the endpoint's key isn't.
    """
    if config.endpoint is not None:
        config.endpoint.key()
    job = jobs.create(workspace, STAGE, settled(workspace, config))
    launch.start(job)
    return job


def settled(workspace: Workspace, config: JudgeConfig) -> JudgeConfig:
    """Return settings that mean the same from any folder and later on: whole ids, absolute paths, versions."""
    update: dict[str, object] = {"answers": tuple(answers.pinned(workspace, name) for name in config.answers)}
    tags, rules = segments.named(config.segments)
    update |= {"segments": tags, "rules": rules or config.rules}
    if config.labels is not None:
        update["labels"] = _file(config.labels)
    if config.model is not None:
        update["model"] = pinned(workspace, config.model)
    return config.model_copy(update=update)


def _file(name: str) -> str:
    path = Path(name)
    if not path.is_file():
        raise DataError(
            f"{name}: there is no such file", "Give the labels.jsonl that people's choices were written to."
        )
    return str(path.resolve())
