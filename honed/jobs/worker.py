"""The worker's edge: runs a stage's work on a job's folder and turns every ending into a status."""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from honed.errors import HonedError
from honed.jobs.events import Done, Failed
from honed.jobs.job import Job, Status

Work = Callable[[Job, Callable[[], bool]], dict[str, Any]]
"""``work(job, stopping) -> result``, to which seconds and peak memory are added.

It looks at ``stopping()`` between steps and raises ``Stopped`` once it is true.
"""


class Stopped(BaseException):
    """The work has saved itself because it was asked to stop."""


def main(work: Work) -> None:
    """Run ``work`` on the folder named by the command line; exit 0 when done or stopped, 1 when failed."""
    job = Job(Path(sys.argv[1]).resolve())
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    with job.held():
        last = job.status()
        status = Status(
            stage=last.stage, state="running", attempt=last.attempt + 1, pid=os.getpid(), started=time.time()
        )
        job.set_status(status)
        update = _outcome(job, work, lambda: bool(asked))
        job.set_status(status.model_copy(update={**update, "ended": time.time()}))
    sys.exit(1 if update["state"] == "failed" else 0)


def _outcome(job: Job, work: Work, stopping: Callable[[], bool]) -> dict[str, Any]:
    start = time.time()
    try:
        result = work(job, stopping)
        seconds = round(time.time() - start, 2)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        job.set_result({**result, "seconds": seconds, "peak_rss_bytes": peak})
        job.log.write(Done(seconds=seconds))
        return {"state": "done"}
    except Stopped:
        return {"state": "stopped"}
    except Exception as error:  # noqa: BLE001 - the edge: whatever it is becomes a status and a traceback in the log
        traceback.print_exc()
        message, hint = _words(error, job)
        update = {"state": "failed", "message": message, "hint": hint}
        try:
            job.log.write(Failed(message=message, hint=hint))
        except OSError:
            traceback.print_exc()  # a full disk can't take the event; the status is tried all the same
        return update


def _words(error: Exception, job: Job) -> tuple[str, str]:
    if isinstance(error, HonedError):
        return error.message, error.hint
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{job.path}: the disk is full", f"Free space, then: honed jobs resume {job.id}"
    if _out_of_memory(error):
        return (
            "out of memory",
            "Lower pack_tokens, or train fewer weights (--weights lora, or qlora with a 4-bit base).",
        )
    log = job.path / "log.txt"
    return f"honed failed: {type(error).__name__}: {error}", f"That is our fault; please report it with {log}"


def _out_of_memory(error: Exception) -> bool:
    """torch has words and a class of its own for it, and no worker's edge may load torch."""
    said = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and ("can't allocate memory" in said or "out of memory" in said))
    )
