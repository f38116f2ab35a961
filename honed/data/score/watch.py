"""A job that measures: it says how far it is, and ends where it was asked to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from honed.jobs.events import Step
from honed.jobs.job import Job
from honed.jobs.worker import Stopped

_EVERY_SECONDS = 0.25


@dataclass
class Watch:
    """The job at work and whether it is to stop."""

    job: Job
    stopping: Callable[[], bool]
    _said: tuple[str, float] = field(default=("", 0.0))

    def step(self, stage: str, done: int, total: int) -> None:
        """Say that ``done`` of ``total`` are done, now and then. Raises ``Stopped`` if the job is to stop."""
        if self.stopping():
            raise Stopped
        now = time.monotonic()
        if self._said[0] != stage or now - self._said[1] >= _EVERY_SECONDS or done == total:
            self._said = (stage, now)
            self.job.log.write(Step(stage=stage, step=done, total=total))

    def note(self, text: str) -> None:
        """Say a sentence to the user."""
        self.job.log.note(text)
