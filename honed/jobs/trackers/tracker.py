"""What a tracker is: a place outside honed that shows runs, told what a job's events say.

A tracker is declared in a ``pyproject.toml`` and found by its name::

    [project.entry-points."honed.trackers"]
    tensorboard = "honed.jobs.trackers.tensorboard:backend"

``backend`` is a ``Backend``: the package that it needs, the function that opens a run, and the one that says which
run that is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from honed import registry
from honed.errors import ConfigError
from honed.jobs.job import Job, State

PROJECT = "honed"
"""Under what name the runs of all workspaces stand in trackers that know projects."""

Scalar = str | float | int | bool

_SECRET = re.compile(r"(^|[._-])(secret|password|passwd|token|api_?key|credentials?)$", re.IGNORECASE)
_USER = re.compile(r"(?<=://)([^/?\s]+|[^/?:\s]*:[^?@\s]+)(?=@)")
_GIVEN = re.compile(
    r"(\b[\w.-]*(secret|password|passwd|token|key|credentials?)[\"']?\s*[=:]\s*|\bBearer )"
    r"(\"[^\"]*\"|'[^']*'|[^&;,\s'\")]+)",
    re.IGNORECASE,
)
HIDDEN = "(hidden)"


@dataclass(frozen=True)
class Run:
    """A job as a tracker sees it. ``settings`` are flat, without secrets; ``again``: the run was opened before.

    ``texts`` gives the names and texts that were sent before, for a tracker that can't add to what it has.
    """

    name: str
    stage: str
    folder: Path
    workspace: Path
    started: float
    settings: Mapping[str, Scalar]
    again: bool
    texts: Callable[[], list[tuple[str, str]]]


class Tracker(Protocol):
    """An open run. Each call may raise whatever the tracker's package raises: the reader says so."""

    where: str
    """Where the user finds the run: a folder with the command that shows it, or an address; told ``masked``."""

    def scalars(self, values: Mapping[str, float], step: int, when: float) -> None:
        """Take numbers by name, such as ``train/loss``, at a step of theirs; ``when`` is Unix time."""
        ...

    def text(self, name: str, text: str, step: int, when: float) -> None:
        """Take a note, an answer or an ending."""
        ...

    def flush(self) -> None:
        """Send what is held back; called whenever there is nothing more to read for now."""
        ...

    def close(self, state: State) -> None:
        """Send what isn't sent yet and end the run as the job ended; ``running`` leaves it open."""
        ...


@dataclass(frozen=True)
class Backend:
    """A tracker before it is used. ``begin`` imports ``package``, opens a run or goes on with it.

    ``home`` names the run that has the job's events, so that another destination has another name; "" if none has
    them. It stays when the workspace is moved or a password changes. Only a hash of it is kept. ``synced`` names the
    ``home`` whose events the user has since taken to another one, by the tracker's own means; "" if none.
    """

    package: str
    begin: Callable[[Run], Tracker]
    home: Callable[[Run], str]
    synced: Callable[[Run], str] = lambda _: ""


def find(name: str) -> Backend:
    """Return a tracker that can be used. Raises ``ConfigError`` if none has this name, or its package is missing."""
    backend = registry.get("trackers", name)
    assert isinstance(backend, Backend), name
    if find_spec(backend.package) is None:
        message = f"the tracker {name} needs the Python package {backend.package}, which isn't installed"
        raise ConfigError(message, f"pip install 'honed[{name}]'")
    return backend


def describe(job: Job, *, again: bool, texts: Callable[[], list[tuple[str, str]]]) -> Run:
    """Return what a tracker is told of a job when it opens its run."""
    status = job.status()
    return Run(
        name=job.id,
        stage=status.stage,
        folder=job.path,
        workspace=job.workspace.path,
        started=status.started,
        settings={key: _safe(key, value) for key, value in flat(job.settings()).items()},
        again=again,
        texts=texts,
    )


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with keys such as ``outer.inner``; what isn't a scalar becomes text."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{name}.")
        else:
            found[name] = value if isinstance(value, Scalar) else "" if value is None else str(value)
    return found


def masked(text: str) -> str:
    """Return a text without the credentials in it: a URI's ``user:password@``, and ``token=...`` and the like."""
    return _GIVEN.sub(rf"\1{HIDDEN}", _USER.sub(HIDDEN, text))


def _safe(key: str, value: Scalar) -> Scalar:
    if _SECRET.search(key) and value != "":
        return HIDDEN
    return masked(value) if isinstance(value, str) else value
