"""Reads a job's events, from outside its process, into a tracker: what was sent is never sent twice.

How far it came is kept in ``trackers/<name>.json`` of the job's folder, for each destination by itself: another server,
or one whose run was deleted, gets everything. A resumed job repeats its last steps with the same values; a step that
was sent, or a measurement at one, is left out. One that begins anew has other values: they come behind those before.
"""

from __future__ import annotations

import fcntl
import math
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from honed.errors import JobError
from honed.jobs import events
from honed.jobs.job import GOING, Job, State
from honed.jobs.trackers import tracker as trackers
from honed.jobs.trackers.tracker import Tracker
from honed.records import digest
from honed.store.workspace import lock, write_whole, writing

FOLDER = "trackers"
_POLL_SECONDS = 1.0
_MOST_ANSWERS = 100
"""Answers that are sent as text; their verdicts are counted beyond."""

_UNFIT = re.compile(r"[^A-Za-z0-9_./-]+")


class Progress(BaseModel):
    """How far a tracker is: ``trackers/<name>.json``. ``beside`` says that a reader starts whenever the job does.

    ``home`` is a hash of where the run is, "" if that isn't known; ``elsewhere`` tells by such hashes how far the
    tracker is with destinations that were left.
    """

    model_config = ConfigDict(extra="forbid")

    beside: bool = False
    opened: bool = False
    offset: int = 0
    steps: dict[str, int] = {}
    metrics: dict[str, int] = {}
    answers: int = 0
    texts: int = 0
    ended: bool = False
    home: str = ""
    elsewhere: dict[str, Progress] = {}


@dataclass(frozen=True)
class Tracked:
    """What one reading came to: where the run is, how many events were sent, ``anew`` if some had been sent before."""

    tracker: str
    where: str
    events: int
    anew: bool


def read(job: Job, name: str) -> Progress:
    """Return how far a tracker is with a job; a new one is at the beginning."""
    path = place(job, name)
    return Progress.model_validate_json(path.read_bytes()) if path.exists() else Progress()


def keep(job: Job, name: str, progress: Progress) -> None:
    """Replace ``trackers/<name>.json`` whole."""
    with writing(job.path):
        place(job, name).parent.mkdir(exist_ok=True)
        write_whole(place(job, name), progress.model_dump_json(indent=2))


def place(job: Job, name: str) -> Path:
    """Return the file that says how far a tracker is."""
    return job.path / FOLDER / f"{name}.json"


def track(job: Job, name: str, *, follow: bool = False, wait: bool = False) -> Tracked:
    """Send what isn't sent yet; with ``follow``, go on until the job ends. Another destination gets everything.

    Raises ``ConfigError`` as ``tracker.find``, ``JobError`` if another process tracks the job to ``name`` (with
    ``wait``, until it is done). What the tracker's package prints goes to stderr.
    """
    with _alone(job, name, wait), redirect_stdout(sys.stderr):
        backend, kept = trackers.find(name), read(job, name)
        run = trackers.describe(job, again=kept.opened, texts=list)
        progress = _at(_hash(backend.home(run)), kept, _hash(backend.synced(run))) if kept.opened else kept
        if anew := kept.opened and not progress.opened:
            why = "its run is at another destination than before, or was deleted"
            sys.stderr.write(f"job {job.id} in {name}: {why}; everything is sent anew\n")
        texts = partial(_texts, job, progress.offset, progress.ended)
        run = replace(run, again=progress.opened, texts=texts)
        opened = backend.begin(run)
        reading = _Reading(job, name, opened, progress)
        progress.opened = True
        try:
            progress.home = _hash(backend.home(run))
            keep(job, name, progress)
            reading.run(follow)
        except BaseException:
            opened.close("running")
            keep(job, name, progress)  # what came before the fault is there now
            raise
        opened.close(job.status().state)
        return Tracked(name, trackers.masked(opened.where), reading.sent, anew)


def _hash(home: str) -> str:
    """Return a hash of where the job's events are, for what names a server may hold a password; "" if nowhere."""
    return digest(home) if home else ""


def _at(home: str, kept: Progress, synced: str) -> Progress:
    """Return how far the tracker is with the run at ``home``: a new one is at the beginning.

    If the last one was ``synced``, its events are in the new one. One that has progress of its own had them before.
    """
    if home and kept.home in ("", home):
        return kept
    left = {kept.home: kept.model_copy(update={"elsewhere": {}})} if kept.home else {}
    elsewhere = kept.elsewhere | left
    new = left.get(synced, Progress()).model_copy(deep=True)
    known = elsewhere.pop(home, new)
    return known.model_copy(update={"beside": kept.beside, "elsewhere": elsewhere})


@dataclass
class _Reading:
    job: Job
    name: str
    tracker: Tracker
    progress: Progress
    sent: int = field(default=0)

    def run(self, follow: bool) -> None:
        path = self.job.path / "events.jsonl"
        while True:
            going = self.job.status().state in GOING
            for event, offset in events.read(path, self.progress.offset):
                self._send(event)
                self.progress.offset = offset
            if not going and not self.progress.ended:
                self._end()
            self.tracker.flush()
            keep(self.job, self.name, self.progress)
            if not going or not follow:
                return
            time.sleep(_POLL_SECONDS)

    def _send(self, event: events.Event) -> None:
        if isinstance(event, events.Begun):
            return  # of no use to those who see one run, however often it went on
        self.sent += 1
        match event:
            case events.Step():
                self._step(event)
            case events.Metric():
                self._metric(event)
            case events.SampleMade():
                self._answer(event)
            case events.Note():
                if event.anew:
                    self.progress.steps, self.progress.metrics = {}, {}
                self._text("notes", event.text, event.time)
            case events.ArtifactMade():
                self._text("artifacts", f"{event.name}: {event.path}", event.time)
            case events.Failed():
                self._text("failed", f"{event.message} {event.hint}".strip(), event.time)
            case events.Done():
                self.tracker.scalars({"seconds": event.seconds}, 0, event.time)

    def _step(self, event: events.Step) -> None:
        if event.step <= self.progress.steps.get(event.stage, -1):
            return
        stage = _tag(event.stage)
        values = _finite({f"{stage}/{_tag(name)}": value for name, value in event.values.items()})
        self.tracker.scalars(values or {f"{stage}/done": event.step / max(event.total, 1)}, event.step, event.time)
        self.progress.steps[event.stage] = event.step

    def _metric(self, event: events.Metric) -> None:
        if event.step > self.progress.metrics.get(event.name, -1):
            self.tracker.scalars(_finite({_tag(event.name): event.value}), event.step, event.time)
            self.progress.metrics[event.name] = event.step

    def _answer(self, event: events.SampleMade) -> None:
        number = self.progress.answers + 1
        if event.passed is not None:
            self.tracker.scalars({"answers/passed": float(event.passed)}, number, event.time)
        if number <= _MOST_ANSWERS:
            verdict = {None: "not judged", True: "passes", False: "fails"}[event.passed]
            self._text("answers", f"{event.row} ({verdict}): {event.answer}", event.time)
        self.progress.answers = number

    def _text(self, name: str, text: str, when: float) -> None:
        self.tracker.text(name, text, self.progress.texts + 1, when)
        self.progress.texts += 1

    def _end(self) -> None:
        """Send the result's numbers once the job is done; a stopped job may go on, so that it has no end yet."""
        status = self.job.status()
        if status.state == "done":
            result = trackers.flat(self.job.result())
            numbers = {key: value for key, value in result.items() if _number(value)}
            self.tracker.scalars(
                _finite({f"result/{_tag(key)}": float(numbers[key]) for key in numbers}), 0, status.ended
            )
            lines = [f"{key}: {value}" for key, value in result.items() if not _number(value) and value != ""]
            self._text("result", "\n".join(lines), status.ended)
            self.progress.ended = True


@dataclass
class _Texts:
    """A tracker that only keeps the texts."""

    where: str = ""
    kept: list[tuple[str, str]] = field(default_factory=list)

    def scalars(self, values: Mapping[str, float], step: int, when: float) -> None: ...

    def text(self, name: str, text: str, step: int, when: float) -> None:  # noqa: ARG002 - as in Tracker
        self.kept.append((name, text))

    def flush(self) -> None: ...

    def close(self, state: State) -> None: ...


def _texts(job: Job, offset: int, ended: bool) -> list[tuple[str, str]]:
    """Return the texts that a reading sends of the events before ``offset``, and of the job's end."""
    found = _Texts()
    reading = _Reading(job, "", found, Progress())
    for event, behind in events.read(job.path / "events.jsonl"):
        if behind > offset:
            break
        reading._send(event)
    if ended:
        reading._end()
    return found.kept


@contextmanager
def _alone(job: Job, name: str, wait: bool) -> Iterator[None]:
    """Hold the tracker's lock, so that two readers never send the same events."""
    path = place(job, name).with_suffix(".lock")
    with writing(job.path):
        path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        try:
            lock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            what = f"job {job.id} is being sent to {name} by another process"
            raise JobError(what, f"Watch the job: honed jobs follow {job.id}") from error
        yield


def _tag(name: str) -> str:
    """Return a name that every tracker takes: ``before/desk: answers`` becomes ``before/desk/answers``."""
    return _UNFIT.sub("_", name.replace(": ", "/")).strip("/") or "value"


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    """Leave out what no chart can show: a loss that is not a number fails the job, whose failure is sent."""
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
