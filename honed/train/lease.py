"""Whose ranks may work on a job's folder, where no lock reaches: on other machines they outlive a killed driver.

The driver, which has Ray start the ranks, leaves the token of its attempt in the folder and touches that file while it
lives. A rank leaves a file of its own there, and ends at once where it finds another token, or none that is touched. So
an attempt begins when the ranks of the one before it are gone. C. Gray and D. Cheriton, "Leases: An Efficient
Fault-Tolerant Mechanism for Distributed File Cache Consistency" (SOSP 1989).
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from honed.jobs.job import Job, pid_space
from honed.jobs.worker import Stopped
from honed.store.workspace import write_whole, writing

_BEAT = ".beat"
"""Holds the driver's token; that it is touched says that the driver lives, on a full disk too."""

_BEAT_SECONDS = 2.0

_LOOK_SECONDS = 1.0

_LOOKS = 120
"""How often in a row a rank finds nothing new until it ends: looks, for while the disk doesn't answer there is none."""

_GONE_SECONDS = 120.0
"""How long ranks of another attempt have to end; a shared disk may show them the new token 60 s late (nfs(5))."""

_POLL_SECONDS = 0.2


@contextmanager
def driving(job: Job, stopping: Callable[[], bool]) -> Iterator[str]:
    """Take the job's folder over for the block, once no rank of another attempt works there; yield the token.

    Raises ``Stopped`` if asked to stop while it waits for them.
    """
    token, beat, ended = secrets.token_hex(8), job.path / _BEAT, threading.Event()
    with writing(job.path):
        write_whole(beat, token)

    def touch() -> None:
        while not ended.wait(_BEAT_SECONDS):
            with suppress(OSError):  # a disk that doesn't answer may do so the next time
                os.utime(beat)

    beats = threading.Thread(target=touch, daemon=True)
    beats.start()
    try:
        _until_gone(job, stopping)
        yield token
    finally:
        ended.set()
        beats.join()


@contextmanager
def living(job: Job, token: str) -> Iterator[None]:
    """Say for the block that this rank lives, and end its process once its driver doesn't, or another one drives."""
    mine, ended = _alive(job, token, job.rank), threading.Event()

    def watch() -> None:
        seen, still = _seen(job), 0
        while still < _LOOKS and (seen is None or seen[0] == token):
            if ended.wait(_LOOK_SECONDS):
                return
            before, seen = seen, _seen(job)
            still = still + 1 if seen in (before, None) else 0
        try:
            mine.unlink(missing_ok=True)
            sys.stderr.write(f"rank {job.rank} ends: its driver is gone, or another has taken over\n")
            sys.stderr.flush()
        finally:
            os._exit(1)  # whatever a disk that is full or gone says to that

    write_whole(mine, json.dumps({"pid": os.getpid(), "pid_space": pid_space()}))
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        mine.unlink(missing_ok=True)


def begun(job: Job, token: str, ranks: int) -> bool:
    """Return whether one of the ranks is at work. By their names: a shared disk may be late with a list of them."""
    return any(_alive(job, token, rank).exists() for rank in range(ranks))


def _alive(job: Job, token: str, rank: int) -> Path:
    return job.path / f".alive-{rank}-{token}"


def _until_gone(job: Job, stopping: Callable[[], bool]) -> None:
    """Wait for the ranks of other attempts, and remove what is left of them. None of this attempt has been started."""
    deadline, noted = time.monotonic() + _GONE_SECONDS, False
    while any(map(_may_live, job.path.glob(".alive-*"))) and time.monotonic() < deadline:
        if stopping():
            raise Stopped
        if not noted:
            job.log.note(f"ranks of an earlier attempt may still run: they are given {_GONE_SECONDS:g} s to end")
            noted = True
        time.sleep(_POLL_SECONDS)
    for left in job.path.glob(".alive-*"):
        left.unlink(missing_ok=True)


def _may_live(alive: Path) -> bool:
    """Whether the rank that wrote the file may live: only where it ran can be seen that it doesn't."""
    try:
        said = json.loads(alive.read_bytes())
    except OSError:  # it has just ended
        return False
    return said["pid_space"] != pid_space() or psutil.pid_exists(said["pid"])


def _seen(job: Job) -> tuple[str, int] | None:
    """The token that is there and when it was last touched: opened, for a shared disk then tells what is so now."""
    try:
        with (job.path / _BEAT).open() as file:
            return file.read(), os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return None
