"""The worker's edge: runs a stage's work on a job's folder and turns every ending into a status.

Work of several ranks runs in as many processes, started by torchrun: rank 0 holds the job and is the one that writes;
the others leave word of a fault in the job's folder, where rank 0, which loses touch with them, finds it.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from honed.errors import HonedError
from honed.jobs import last_words, memory
from honed.jobs.events import Begun, Done, Failed
from honed.jobs.job import Job, Status

_POLL_SECONDS = 0.2

_LISTEN_SECONDS = 1.0

_GRACE_SECONDS = 15.0
"""How long rank 0 may take to lose touch with a rank that left its words; torchrun kills it 30 s after that one."""

_LESS = (
    "with a lower pack_tokens, without the longest rows (max_length), with activation_checkpointing, or with fewer "
    "weights (--weights lora or qlora)."
)
MORE_MEMORY = {
    "train": f"Train anew {_LESS} What a run takes is told before it by: honed plan",
    "plan": f"Plan again {_LESS}",
}
"""What to do about a lack of memory, by the job's stage."""

Work = Callable[[Job, Callable[[], bool]], dict[str, Any]]
"""``work(job, stopping) -> result``, to which seconds and, unless it tells it itself, peak memory are added.

The seconds are those of all attempts at the job, without the pauses between them; the memory is the last attempt's.

It looks at ``stopping()`` between steps and raises ``Stopped`` once it is true.
"""


class Stopped(BaseException):
    """The work has saved itself because it was asked to stop."""


def main(work: Work, tidy: Callable[[Job], None] | None = None) -> None:
    """Run ``work`` on the folder named by the command line; exit 0 when done or stopped, 1 when failed.

    ``tidy`` clears away what only a resume would need, once the status says that the job is done.
    """
    job = Job(Path(sys.argv[1]).resolve(), rank=int(os.environ.get("RANK", "0")))
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    if "RANK" in os.environ:
        end_with(os.getppid())
    if job.rank:
        sys.exit(0 if quietly(job, work, lambda: bool(asked)) else 1)
    with job.held():
        status = job.begin()
        update = _outcome(job, work, lambda: bool(asked), status)
        job.set_status(status.model_copy(update={**update, "ended": time.time()}))
        if tidy and update["state"] == "done":
            tidy(job)
    sys.exit(1 if update["state"] == "failed" else 0)


def cpu_seconds() -> float:
    """Return the processor time of this process and of all those it started that have ended."""
    return sum(os.times()[:4])


def _outcome(job: Job, work: Work, stopping: Callable[[], bool], status: Status) -> dict[str, Any]:
    try:
        job.log.write(Begun(attempt=status.attempt))
        result = work(job, stopping)
        seconds = round(status.earlier_seconds + time.time() - status.started, 2)
        job.set_result({"peak_rss_bytes": memory.peak(), **result, "seconds": seconds})
        job.log.write(Done(seconds=seconds))
        return {"state": "done"}
    except Stopped:
        return {"state": "stopped"}
    except Exception as error:  # noqa: BLE001 - the edge: whatever it is becomes a status and a traceback in the log
        traceback.print_exc()
        message, hint = _words(error, job)
        if _lost(error):
            message, hint = last_words.awaited(job)
        return _failed(job, message, hint)


def _failed(job: Job, message: str, hint: str) -> dict[str, Any]:
    try:
        job.log.write(Failed(message=message, hint=hint))
    except OSError:
        traceback.print_exc()  # a full disk can't take the event; the status is tried all the same
    return {"state": "failed", "message": message, "hint": hint}


@contextmanager
def listening(job: Job) -> Iterator[None]:
    """While the block runs on the first of torchrun's ranks, end the job with the words of a rank that has failed.

    The first may not notice in time: it waits for that rank on a GPU, or computes a long pass, until torchrun kills it.
    """
    if job.rank or not last_words.launched():
        yield
        return
    ended = threading.Event()

    def listen() -> None:
        while not ended.wait(_LISTEN_SECONDS):
            if words := last_words.found(job):
                if not ended.wait(_GRACE_SECONDS):
                    update = {**_failed(job, *words), "ended": time.time()}
                    job.set_status(job.status().model_copy(update=update))
                    os._exit(1)
                return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield
    finally:
        ended.set()
        listener.join()  # it may be writing the status: nobody may write another


def quietly(job: Job, work: Work, stopping: Callable[[], bool], launch: str | None = None) -> bool:
    """Do the work as a rank that writes no status; return whether it went well. Why it didn't is left behind.

    ``launch`` is that of ``last_words.leave``.
    """
    try:
        work(job, stopping)
    except Stopped:
        return True
    except Exception as error:  # noqa: BLE001 - the edge, as in _outcome
        traceback.print_exc()
        if not _lost(error):
            last_words.leave(job, *_words(error, job), launch)
        return False
    return True


def _lost(error: Exception) -> bool:
    """Whether the error says that another rank is gone; torch's errors are told by their words, as below."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or not isinstance(error, RuntimeError):
        return False
    said = str(error).lower()
    return type(error).__name__.startswith("Dist") or any(word in said for word in ("by peer", "gloo", "nccl"))


def end_with(parent: int) -> None:
    """End this process, as a kill would, when its parent is gone: nobody else would."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _words(error: Exception, job: Job) -> tuple[str, str]:
    if _disk_full(error) or _disk_full(error.__cause__):
        message = error.message if isinstance(error, HonedError) else f"{job.path}: the disk is full"
        return message, f"Free space, then: honed jobs resume {job.id}"
    if isinstance(error, HonedError):
        return error.message, error.hint
    less = MORE_MEMORY.get(job.status().stage, "Close what else runs, or take a larger machine.")
    if _out_of_memory(error):
        return "out of memory", less
    if isinstance(error, BrokenExecutor):  # one of ``pool``, whose errors of its own would have been raised here
        fewer = f"On fewer cores fewer processes run: taskset -c 0 honed jobs resume {job.id}"
        return "a process of this job was killed, most likely for want of memory", f"{less} {fewer}"
    log = job.path / "log.txt"
    return f"honed failed: {type(error).__name__}: {error}", f"That is our fault; please report it with {log}"


def _disk_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _out_of_memory(error: Exception) -> bool:
    """torch has words and a class of its own for it, and no worker's edge may load torch."""
    said = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and ("can't allocate memory" in said or "out of memory" in said))
    )
