"""``follow``: a job in the terminal, as a live bar or as plain lines, with Ctrl-C that leaves it resumable."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from honed.cli.options import HaltedError, say
from honed.cli.tables import clock, plain
from honed.errors import JobError
from honed.jobs import events, launch
from honed.jobs.job import Job, Status
from honed.jobs.worker import MORE_MEMORY

_WATCHED = ("loss", "margin", "accuracy", "tokens_per_second")
_LINE_SECONDS = 5.0
_LINE_SHARE = 0.1


class Pace:
    """How fast the steps of one stage go by, from the events' own times over the last ``window`` of them."""

    def __init__(self, window: int = 30) -> None:
        self._seen: deque[events.Step] = deque(maxlen=window)

    def seen(self, step: events.Step) -> None:
        """Count a step; another stage, or a step back, starts the measure anew."""
        if self._seen and (self._seen[-1].stage != step.stage or self._seen[-1].step >= step.step):
            self._seen.clear()
        self._seen.append(step)

    def again(self) -> None:
        """Start the measure anew: the time between two attempts at a job isn't that of a step."""
        self._seen.clear()

    def seconds_left(self) -> float | None:
        """Return the seconds until the last step, or ``None`` while that can't be known."""
        if len(self._seen) < 2:
            return None
        first, last = self._seen[0], self._seen[-1]
        return (last.total - last.step) * (last.time - first.time) / (last.step - first.step)


class _View(Protocol):
    def step(self, step: events.Step, left: float | None) -> None: ...

    def line(self, text: str) -> None: ...


class _Bar:
    """A live bar for each stage of the job, notes above them."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def step(self, step: events.Step, left: float | None) -> None:
        if step.stage not in self._tasks:
            self._tasks[step.stage] = self._progress.add_task(step.stage, total=step.total, left="", values="")
        self._progress.update(
            self._tasks[step.stage],
            completed=step.step,
            total=step.total,
            left=f"{clock(left)} left" if left else "",
            values=_values(step.values),
        )

    def line(self, text: str) -> None:
        self._progress.console.print(Text(text), soft_wrap=True)


class _Lines:
    """A plain line every few seconds or tenth of the way: for a log file, a pipe, ``--json``."""

    def __init__(self) -> None:
        self._last: tuple[str, float, float] = ("", 0.0, 0.0)

    def step(self, step: events.Step, left: float | None) -> None:
        stage, share, when = self._last
        now = step.step / max(step.total, 1)
        due = time.monotonic() - when >= _LINE_SECONDS or now - share >= _LINE_SHARE or now < share
        if stage == step.stage and not due and step.step != step.total:
            return
        self._last = (step.stage, now, time.monotonic())
        parts = [f"{step.stage} {step.step}/{step.total}", _values(step.values), f"{clock(left)} left" if left else ""]
        say("  ".join(part for part in parts if part))

    def line(self, text: str) -> None:
        say(text)


def follow(job: Job, json: bool = False, start_at: int = 0, owner: bool = True) -> dict[str, Any]:
    """Show the job's events from byte ``start_at`` on until it ends, and return its result.

    Ctrl-C asks the worker to save itself (unless the caller isn't the job's ``owner`` and only looks on), and raises
    ``HaltedError`` with the way to go on. Raises ``JobError`` when the job failed, was stopped from elsewhere, or lost
    its worker. ``json`` asks for plain lines even at a terminal.
    """
    try:
        _watch(job, json, start_at)
    except KeyboardInterrupt as interrupt:
        if not owner:
            hint = f"Watch it again: honed jobs follow {job.id}"
            raise HaltedError(f"job {job.id} goes on unwatched", hint) from interrupt
        _halt(job)
    status = job.status()
    if status.state != "done":
        raise _ending(job, status)
    return job.result()


def _watch(job: Job, json: bool, start_at: int) -> None:
    live: AbstractContextManager[Progress | None] = nullcontext()
    if sys.stderr.isatty() and not json:
        live = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[values]}"),
            console=Console(stderr=True),
        )
    pace = Pace()
    with live as progress:
        view: _View = _Bar(progress) if progress else _Lines()
        for event in launch.follow(job, start_at):
            if isinstance(event, events.Begun):
                pace.again()
            elif isinstance(event, events.Step):
                pace.seen(event)
                view.step(event, pace.seconds_left())
            elif text := _text(event):
                view.line(plain(text))


def _text(event: events.Event) -> str:
    """Return an event as a line; those whose news reaches the user otherwise give none."""
    if isinstance(event, events.Note):
        return event.text
    if isinstance(event, events.Metric):
        at = f" at step {event.step}" if event.step else ""
        return f"{event.name.replace('_', ' ')} {event.value:.4g}{at}"
    return ""


def _values(values: Mapping[str, float]) -> str:
    """The values that a person watches, of those a step has: ``loss 1.234  tokens/s 280``."""
    shown = [(key, values[key]) for key in _WATCHED if key in values]
    return "  ".join(f"{key.replace('_per_second', '/s').replace('_', ' ')} {value:.4g}" for key, value in shown)


def _halt(job: Job) -> None:
    """Stop the worker as the user asked: by its checkpoint, or at once on a second Ctrl-C."""
    try:
        try:
            say(f"\nstopping job {job.id}: it saves its state first (Ctrl-C again: end it now)")
            launch.stop(job, timeout=launch.SAVE_SECONDS)
        except KeyboardInterrupt:
            launch.stop(job, timeout=0)
    except JobError:
        if job.status().state == "running":
            raise
        # Else it ended by itself in the meantime; its status says how.
    status = job.status()
    if status.state in ("stopped", "interrupted"):
        raise HaltedError("stopped" if status.state == "stopped" else "ended at once", _go_on(job))


def _ending(job: Job, status: Status) -> JobError:
    if status.state == "failed":
        return JobError(status.message, status.hint or f"See: honed jobs show {job.id}")
    if status.state == "stopped":
        return JobError(f"job {job.id} was stopped", _go_on(job))
    less = MORE_MEMORY.get(status.stage)
    return JobError(
        f"job {job.id} was cut off: its worker was killed, or the machine went down",
        _go_on(job) + (f"  If it was for want of memory, it would be again. {less}" if less else ""),
    )


def _go_on(job: Job) -> str:
    return f"Go on with: honed jobs resume {job.id}"
