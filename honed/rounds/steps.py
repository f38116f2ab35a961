"""The steps of a round, each done once: what a step gave is kept, and a job that it started is found again.

``steps.json`` in the round's folder names the model that was live when it began, and for each step when its job was
asked for, the job's id, and what came of it. It is replaced whole after every change, so a killed round goes on from
the step it was in; that step's job, which runs in a session of its own, is waited for or resumed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from honed import config as settings_file
from honed.config import Config
from honed.errors import ConfigError, JobError
from honed.jobs import events, launch
from honed.jobs import job as jobs
from honed.jobs.job import GOING, STEPS, Job
from honed.jobs.worker import Stopped
from honed.store.workspace import write_whole

_STOP_SECONDS = 540.0
"""A job saves itself within this time when the round is stopped; the round's own worker is given 600 s."""


class Ledger:
    """What a round has done so far: ``steps.json``."""

    def __init__(self, job: Job) -> None:
        self._path = job.path / STEPS
        self._kept: dict[str, Any] = json.loads(self._path.read_text()) if self._path.exists() else {"steps": {}}

    @property
    def live(self) -> str | None:
        """The model that was live when the round began, or None if it hasn't."""
        found = self._kept.get("live")
        return None if found is None else str(found)

    def begin(self, live: str) -> None:
        """Keep the model that is live now."""
        self._kept["live"] = live
        self._write()

    def of(self, step: str) -> Mapping[str, Any]:
        """Return what is kept of a step; nothing if it hasn't begun."""
        found: Mapping[str, Any] = self._kept["steps"].get(step, {})
        return found

    def keep(self, step: str, **values: Any) -> None:
        """Add to what is kept of a step."""
        self._kept["steps"][step] = {**self.of(step), **values}
        self._write()

    def all(self, key: str) -> dict[str, Any]:
        """Return what every step that has ``key`` keeps under it, in the order in which they began."""
        return {step: values[key] for step, values in self._kept["steps"].items() if key in values}

    def _write(self) -> None:
        write_whole(self._path, json.dumps(self._kept, indent=2, ensure_ascii=False))


@dataclass
class Steps:
    """Does a round's steps, those of an earlier attempt excepted. Raises ``Stopped`` between steps when asked to."""

    job: Job
    ledger: Ledger
    stopping: Callable[[], bool]

    def here(self, step: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do a step in this process and return what it gives (JSON values), or what it gave before."""
        if (kept := self.ledger.of(step).get("result")) is not None:
            return dict(kept)
        self._check()
        start = time.monotonic()
        result = work()
        self.ledger.keep(step, result=result, seconds=round(time.monotonic() - start, 2))
        return result

    def away(self, step: str, wanted: Config, begin: Callable[[], Job]) -> dict[str, Any]:
        """Do a step as a job with the settings ``wanted``, started by ``begin``; return its result.

        Raises ``JobError`` with the job's words if it fails; it is resumed when the round is.
        """
        if (kept := self.ledger.of(step).get("result")) is not None:
            return dict(kept)
        self._check()
        job, start_at = self._find(step, wanted), 0
        if job is None:
            self.ledger.keep(step, asked=time.time())
            job = begin()
        else:
            start_at = _size(job)
            if job.status().state not in ("running", "done"):
                launch.resume(job)
        self.ledger.keep(step, job=job.id)
        self.job.log.note(f"{step}: job {job.id}")
        result = self._wait(step, job, start_at)
        self.ledger.keep(step, result=result, seconds=result["seconds"])
        return result

    def _check(self) -> None:
        if self.stopping():
            raise Stopped

    def _find(self, step: str, wanted: Config) -> Job | None:
        """Return the job of this step from an earlier attempt, also if that was killed before it could note its id."""
        kept = self.ledger.of(step)
        if "job" in kept:
            job = Job(self.job.workspace.jobs / kept["job"])
            return job if (job.path / "status.json").exists() else None
        if "asked" not in kept:
            return None
        others = set(self.ledger.all("job").values())
        young = [
            job for job in jobs.listing(self.job.workspace) if job.id not in others and job.made() >= kept["asked"] - 1
        ]
        return next((job for job in young if _settings(job, type(wanted)) == wanted), None)

    def _wait(self, step: str, job: Job, start_at: int) -> dict[str, Any]:
        began = time.monotonic()
        while True:
            running = job.status().state in GOING
            start_at = self._pass_on(step, job, start_at)
            if not running:
                return self._ended(step, job)
            if self.stopping():
                try:
                    launch.stop(job, timeout=_STOP_SECONDS)
                except JobError:
                    if job.status().state == "running":
                        raise
                raise Stopped
            time.sleep(launch.pause(began))

    def _ended(self, step: str, job: Job) -> dict[str, Any]:
        status = job.status()
        if status.state == "done":
            return job.result()
        go_on = f"Go on with: honed jobs resume {self.job.id}"
        if status.state == "failed":
            hint = f"{status.hint} {go_on}".strip()
            raise JobError(f"{step}: {status.message}", hint)
        what = "was stopped" if status.state == "stopped" else "was cut off: its worker was killed"
        raise JobError(f"{step}: job {job.id} {what}", go_on)

    def _pass_on(self, step: str, job: Job, start_at: int) -> int:
        """Let the round's own followers see how far the job is."""
        for event, offset in events.read(job.path / "events.jsonl", start_at):
            start_at = offset
            if isinstance(event, events.Step):
                self.job.log.write(event.model_copy(update={"stage": _staged(step, event.stage)}))
            elif isinstance(event, events.Note):
                self.job.log.write(event.model_copy(update={"text": f"{step}: {event.text}"}))
            elif isinstance(event, events.Metric):
                self.job.log.write(event.model_copy(update={"name": f"{step} {event.name}"}))
        return start_at


def _staged(step: str, stage: str) -> str:
    return f"{step}: {stage}"


def _size(job: Job) -> int:
    path = job.path / "events.jsonl"
    return path.stat().st_size if path.exists() else 0


def _settings(job: Job, model: type[Config]) -> Config | None:
    """Return a job's settings if they are of this kind."""
    with suppress(ConfigError):
        return settings_file.read(model, job.path / "config.yaml")
    return None
