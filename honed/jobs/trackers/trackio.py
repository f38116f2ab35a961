"""trackio: the Space or server that its own variables name, else a folder in the workspace."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from honed.jobs.job import State
from honed.jobs.trackers.tracker import PROJECT, Backend, Run

FOLDER = "trackio"


class Trackio:
    """A run. Texts are Markdown, kept from being read as such."""

    def __init__(self, opened: Any, where: str) -> None:
        self._run, self.where = opened, where

    def scalars(self, values: Mapping[str, float], step: int, when: float) -> None:  # noqa: ARG002 - it takes its own
        """Log the numbers at their step."""
        if values:
            self._run.log(dict(values), step=step)

    def text(self, name: str, text: str, step: int, when: float) -> None:  # noqa: ARG002 - as above
        """Log a text at its step."""
        import trackio

        shown = "\n".join(f"    {line}" for line in text.splitlines())
        self._run.log({name: trackio.Markdown(shown)}, step=step)

    def flush(self) -> None:
        """Nothing: the package sends by itself."""

    def close(self, state: State) -> None:  # noqa: ARG002 - a run has no state
        """Send what is queued."""
        self._run.finish()


def begin(run: Run) -> Trackio:
    """Start the run that has the job's id, or go on with it."""
    folder = os.environ.setdefault("TRACKIO_DIR", str(run.workspace / FOLDER))  # read when the package is imported
    Path(folder).mkdir(parents=True, exist_ok=True)  # the package makes it later, and ``home`` looks for it now
    import trackio

    opened = trackio.init(
        project=PROJECT,
        name=run.name,
        group=run.stage,
        config=dict(run.settings),
        resume="allow",
        auto_log_gpu=False,
        auto_log_cpu=False,
    )
    return Trackio(opened, _remote() or f"{folder} (TRACKIO_DIR={folder} trackio show --project {PROJECT})")


def home(run: Run) -> str:
    """Name the Space, the server without its token, or the folder if it is there, seen from the workspace."""
    if remote := _remote():
        return remote.partition("?")[0]
    folder = Path(os.environ.get("TRACKIO_DIR") or run.workspace / FOLDER).resolve()
    if not folder.is_dir():
        return ""
    return str(folder.relative_to(run.workspace) if folder.is_relative_to(run.workspace) else folder)


def _remote() -> str:
    return os.environ.get("TRACKIO_SPACE_ID") or os.environ.get("TRACKIO_SERVER_URL") or ""


backend = Backend("trackio", begin, home)
