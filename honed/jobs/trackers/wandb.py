"""Weights & Biases: to its server if the user is logged in, else into the job's folder, to be synced later."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from honed.jobs.job import State
from honed.jobs.trackers.tracker import PROJECT, Backend, Run


class Wandb:
    """A run. Each group of names has a step of its own, for a job's stages count from 1 each."""

    def __init__(self, run: Run, opened: Any) -> None:
        self._run = opened
        self._known: set[str] = set()
        self._texts = run.texts() if run.again else []
        self._new = False
        files = run.folder / "wandb"
        self.where = (None if opened.offline else opened.url) or f"{files} (wandb sync {files}/offline-run-*)"

    def scalars(self, values: Mapping[str, float], step: int, when: float) -> None:
        """Log the numbers with the step of their group; the server keeps the time of the logging too."""
        steps = {f"{_group(name)}/step": step for name in values}
        for name in values.keys() - self._known:
            self._known.add(name)
            self._run.define_metric(name, step_metric=f"{_group(name)}/step")
        self._run.log({**values, **steps, "time": when})

    def text(self, name: str, text: str, step: int, when: float) -> None:  # noqa: ARG002 - a table has no steps
        """Keep a text for the next table."""
        self._texts.append((name, text))
        self._new = True

    def flush(self) -> None:
        """Log all texts as a table if there are new ones: it takes the place of the one before."""
        import wandb

        if self._new:
            self._run.log({"texts": wandb.Table(columns=["what", "text"], data=[list(text) for text in self._texts])})
            self._new = False

    def close(self, state: State) -> None:
        """Log what isn't logged yet and end the run."""
        self.flush()
        self._run.finish(exit_code=1 if state == "failed" else 0)


def begin(run: Run) -> Wandb:
    """Start the run that has the job's id, or go on with it."""
    wandb = _package()
    opened = wandb.init(
        project=_project(),
        id=run.name,
        name=run.name,
        group=run.stage,
        dir=str(run.folder),
        mode=_mode(wandb),
        resume="allow",
        config=dict(run.settings),
        settings=wandb.Settings(
            silent=True, console="off", disable_git=True, disable_code=True, x_disable_stats=True, x_disable_meta=True
        ),
    )
    return Wandb(run, opened)


def home(run: Run) -> str:
    """Name the server, or that the files are still here, and the entity and the project."""
    wandb = _package()
    mode = _mode(wandb)
    return "" if mode == "offline" and not _files(run) else _named(wandb, mode)


def synced(run: Run) -> str:
    """Name the files here as ``home`` does, once all of them were synced: then what they hold is on the server."""
    files = _files(run)
    there = bool(files) and all(file.with_name(f"{file.name}.synced").exists() for file in files)
    return _named(_package(), "offline") if there else ""


def _named(wandb: Any, mode: str) -> str:
    settings = wandb.setup().settings
    named = settings.base_url != wandb.Settings().base_url  # the default one differs between versions of the package
    server = settings.base_url if named and mode != "offline" else ""
    return " ".join([mode, server, settings.entity or "", _project()])


def _files(run: Run) -> list[Path]:
    """What was kept of a run while nobody was logged in."""
    return list((run.folder / "wandb").glob("offline-run-*/*.wandb"))


def _package() -> Any:
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # honed has no telemetry, and starts none
    import wandb

    return wandb


def _mode(wandb: Any) -> str:
    if wandb.run is not None:  # an open run knows; ``login`` says no meanwhile, whoever is logged in
        return "offline" if wandb.run.offline else "online"
    return os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False, verify=False) else "offline")


def _project() -> str:
    return os.environ.get("WANDB_PROJECT", PROJECT)


def _group(name: str) -> str:
    return name.rpartition("/")[0] or "job"


backend = Backend("wandb", begin, home, synced)
