"""A stage for the tests: it counts to ``steps``, saves where it is after each, and fails in the way it is told to.

Run as a worker: ``python -m tests.jobs.counting FOLDER``.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from pydantic import Field

from honed import config
from honed.errors import DataError
from honed.jobs.events import Metric, Step
from honed.jobs.job import Job
from honed.jobs.worker import Stopped, main
from honed.store.workspace import write_whole


class CountConfig(config.Config):
    """How far to count, how fast, and how to fail."""

    steps: int = Field(default=3, description="how far")
    seconds: float = Field(default=0.0, description="of each step")
    fail: str = Field(default="", description="the fault to raise after the first step")
    deaf: bool = Field(default=False, description="don't listen to a request to stop")
    ranks: int = Field(default=1, description="processes that count, each for itself")
    on: str | None = Field(default=None, description="where they run")


FAULTS: dict[str, Exception] = {
    "user": DataError("rows.json:3: answer: it is empty", "Write an answer, or remove the row."),
    "own": ValueError("a fault of our own"),
    "disk": OSError(errno.ENOSPC, "No space left on device"),
    "memory": MemoryError(),
    "pool": BrokenProcessPool("A process in the process pool was terminated abruptly"),
    "town": ValueError("Zürich"),
}


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Count on from the checkpoint."""
    settings = config.read(CountConfig, job.path / "config.yaml")
    checkpoint = job.path / f"checkpoint{job.rank or ''}.txt"
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    job.log.note(f"counting from {done}")
    for step in range(done + 1, settings.steps + 1):
        time.sleep(settings.seconds)
        job.log.write(Step(stage="count", step=step, total=settings.steps, values={"loss": 1 / step}))
        write_whole(checkpoint, str(step))  # a kill must not leave half of it
        if settings.fail:
            raise FAULTS[settings.fail]
        if stopping() and not settings.deaf:
            raise Stopped
    job.log.write(Metric(name="heldout_loss", value=0.5, step=settings.steps))
    return {"counted": settings.steps, "from": done}


if __name__ == "__main__":
    main(work)
