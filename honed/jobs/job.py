"""A job is a folder: settings, status, events, result, log. Anyone may watch, copy, stop or resume it."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

import yaml
from pydantic import BaseModel, ConfigDict

from honed import config
from honed.errors import JobError
from honed.jobs import events
from honed.store.workspace import Workspace, lock, write_whole, writing

STEPS = "steps.json"
"""Where a job of several steps keeps, in its folder, which jobs did them."""

_MEND = "Bring it back from a copy, or move that folder out of jobs/: the other jobs don't need it."

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""In C where libyaml is there, ten times as fast: each start reads the settings several times."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")

_LOCK = "lock"
_STARTING = ".starting"

State = Literal["queued", "running", "done", "failed", "stopped", "interrupted", "unreadable"]

GOING = ("queued", "running")
"""The states of a job that hasn't ended."""


class Status(BaseModel):
    """What ``status.json`` says.

    ``interrupted`` is never written: it is a ``running`` that no worker holds, or a ``queued`` of which both the worker
    and what started it are gone. ``pid`` is the worker's number on ``host``, among the processes of ``pid_space``.
    ``started`` and ``ended`` are those of the last attempt; what the attempts before it took is ``earlier_seconds``.
    ``unreadable`` is a job of a list whose status can't be read; ``message`` says why.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    state: State
    attempt: int = 0
    pid: int = 0
    host: str = ""
    pid_space: str = ""
    started: float = 0.0
    ended: float = 0.0
    earlier_seconds: float = 0.0
    message: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Job:
    """A job's folder, ``jobs/<id>/``. ``rank`` says which of several processes that do its work looks at it.

    Only rank 0 is heard: the events of the others go nowhere.
    """

    path: Path
    rank: int = 0

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def workspace(self) -> Workspace:
        """The workspace that the folder lies in."""
        return Workspace(self.path.parent.parent)

    def made(self) -> float:
        """When the job was made, by its settings' file; of a folder without one, when that last changed."""
        for path in (self.path / "config.yaml", self.path):
            with suppress(OSError):
                return path.stat().st_mtime
        return 0.0  # it went in the meantime

    @property
    def log(self) -> events.EventLog:
        """Where the worker appends its events."""
        return events.EventLog(Path(os.devnull) if self.rank else self.path / "events.jsonl")

    def events(self) -> list[events.Event]:
        """Every event so far."""
        return [event for event, _ in events.read(self.path / "events.jsonl")]

    def status(self) -> Status:
        """The status now; a job whose worker, or what was to start it, is gone is ``interrupted``.

        Raises ``JobError`` that names the file if the status can't be read.
        """
        with readable(self.path / "status.json"):
            status = self._written()
            if self._lost(status):
                status = self._written()  # the worker may have begun, or ended in order, between the two looks
                if self._lost(status):
                    return status.model_copy(update={"state": "interrupted"})
            return status

    def _lost(self, status: Status) -> bool:
        if status.state == "queued":
            return (self.path / _STARTING).exists() and not self.is_starting()  # else nobody has started it yet
        return status.state == "running" and not self._held(_LOCK)

    def _written(self) -> Status:
        return Status.model_validate_json((self.path / "status.json").read_bytes())

    def listed(self) -> Status:
        """The status as one of many jobs': of a folder that is damaged, or no job's, that it is ``unreadable``."""
        try:
            return self.status()
        except JobError as error:
            return Status(stage="", state="unreadable", message=error.message, hint=error.hint)

    def settings(self) -> dict[str, Any]:
        """The settings as they stand in ``config.yaml``. Raises ``JobError`` if it can't be read."""
        path = self.path / "config.yaml"
        with readable(path):
            return dict(yaml.load(path.read_bytes(), _LOADER) or {})

    def begin(self) -> Status:
        """Write, and return, that this process runs the job: its next attempt."""
        last = self.status()
        status = Status(
            stage=last.stage,
            state="running",
            attempt=last.attempt + 1,
            pid=os.getpid(),
            host=socket.gethostname(),
            pid_space=pid_space(),
            started=time.time(),
            earlier_seconds=self.spent(last),
        )
        self.set_status(status)
        return status

    def spent(self, status: Status) -> float:
        """Return the seconds that all attempts took which have ended; one that was cut off lasted to its last event."""
        if not status.attempt:
            return 0.0
        ended = status.ended or max((event.time for event, _ in events.read(self.path / "events.jsonl")), default=0.0)
        return status.earlier_seconds + max(0.0, ended - status.started)

    def set_status(self, status: Status) -> None:
        """Replace ``status.json`` whole. Raises ``StoreError`` if it can't be written."""
        with writing(self.path):
            write_whole(self.path / "status.json", status.model_dump_json(indent=2))

    def result(self) -> dict[str, Any]:
        """What really ran and what came of it. Raises ``JobError`` if the job isn't done."""
        path = self.path / "result.json"
        if not path.exists():
            state = self.status().state
            raise JobError(f"job {self.id} has no result: it is {state}", f"See: honed jobs show {self.id}")
        with readable(path):
            return dict(json.loads(path.read_bytes()))

    def set_result(self, result: Mapping[str, Any]) -> None:
        """Replace ``result.json`` whole."""
        write_whole(self.path / "result.json", json.dumps(result, indent=2, ensure_ascii=False))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the job for the life of its worker, so that no second worker runs it and its death shows."""
        with self._opened(_LOCK) as file:
            try:
                lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise JobError(f"job {self.id} is running", f"Watch it: honed jobs follow {self.id}") from error
            yield

    @contextmanager
    def starting(self) -> Iterator[int]:
        """Hold the job's start until the worker has begun; yield a descriptor that the worker is to inherit.

        So it is held while either lives. Each start has a file of its own: what is left of an earlier one is not heard.
        """
        scratch = self.path / f"{_STARTING}.{os.getpid()}"
        with self._opened(scratch.name) as file:
            lock(file, fcntl.LOCK_EX)
            with writing(self.path):
                scratch.replace(self.path / _STARTING)
            yield file.fileno()

    def _opened(self, name: str) -> TextIO:
        with writing(self.path):
            return (self.path / name).open("w")

    def is_starting(self) -> bool:
        """Whether a process starts the job's worker, or the worker itself is on its way."""
        return self._held(_STARTING)

    def _held(self, name: str) -> bool:
        """Whether a process holds a lock. Lookers-on, who may only read, share theirs: none takes another for it."""
        try:
            with (self.path / name).open() as file:
                lock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False


def pid_space() -> str:
    """Return what tells processes that share their numbers from those of other containers and machines.

    On Linux that is the boot and the namespace, for a machine's name may change while it runs; elsewhere its name.
    """
    try:
        return f"{_BOOT.read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what is wrong with a file of a job into a ``JobError`` that names it."""
    try:
        yield
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        mend = _MEND if isinstance(error, FileNotFoundError) else "See who may read it, or try again."
        raise JobError(f"{error.filename or path}: it can't be read: {why}", mend) from error
    except (ValueError, TypeError, yaml.YAMLError) as error:  # pydantic's errors, and those of JSON, are ValueErrors
        raise JobError(f"{path}: it is damaged, or of another version of honed", _MEND) from error


def create(workspace: Workspace, stage: str, settings: config.Config) -> Job:
    """Write a new job's folder: resolved settings and a ``queued`` status."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    job = Job(workspace.jobs / f"{stage}-{stamp}-{secrets.token_hex(2)}")
    with writing(job.path):
        job.path.mkdir(parents=True)
        config.save(settings, job.path / "config.yaml")
        job.set_status(Status(stage=stage, state="queued", started=time.time()))
    return job


def find(workspace: Workspace, id_: str) -> Job:
    """Return the job whose id is, or uniquely starts or ends with, ``id_``.

    ``last`` is the newest that isn't another one's step: a round's own, not that of a training in it.
    """
    jobs = listing(workspace)
    if id_ == "last" and jobs:
        steps = set().union(*map(_steps, jobs))
        return next((job for job in reversed(jobs) if job.id not in steps), jobs[-1])
    found = [job for job in jobs if job.id == id_] or [
        job for job in jobs if job.id.startswith(id_) or job.id.endswith(id_)
    ]
    if len(found) != 1:
        what = "there is no job" if not found else f"{len(found)} jobs match"
        raise JobError(f"{what} {id_!r} in {workspace.path}", "See: honed jobs list")
    return found[0]


def _steps(job: Job) -> set[str]:
    """The ids of the jobs that a job of several steps started."""
    path = job.path / STEPS
    try:
        kept = json.loads(path.read_bytes())["steps"] if path.exists() else {}
        return {step["job"] for step in kept.values() if "job" in step}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()  # damaged: that job's own commands say so


def listing(workspace: Workspace) -> list[Job]:
    """Return every job, oldest first."""
    if not workspace.jobs.exists():
        return []
    return sorted((Job(path) for path in workspace.jobs.iterdir() if _is_job(path)), key=Job.made)


def _is_job(folder: Path) -> bool:
    try:
        return (folder / "status.json").exists()
    except PermissionError:
        return True  # what can't be looked into is listed, and said to be so
