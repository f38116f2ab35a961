"""Why a rank failed that nobody listens to, left in the job's folder for the process that writes the job's status."""

from __future__ import annotations

import json
import os
import time

import psutil

from honed.jobs.job import Job
from honed.store.workspace import write_whole

_WAIT_SECONDS = 5.0
"""How long the words of a rank are waited for: others lose touch with it a moment before it has written them."""

_POLL_SECONDS = 0.2


def leave(job: Job, message: str, hint: str, launch: str | None = None) -> None:
    """Write why this rank failed. ``launch`` names the launch that it is of, if it isn't one by torchrun."""
    words = {"launch": _launch() if launch is None else launch, "message": f"rank {job.rank}: {message}", "hint": hint}
    write_whole(job.path / f".rank-{job.rank}.json", json.dumps(words))


def found(job: Job, launch: str | None = None) -> tuple[str, str] | None:
    """Return the message and the hint of the first rank of this launch (see ``leave``) that left some."""
    wanted = _launch() if launch is None else launch
    for path in sorted(job.path.glob(".rank-*.json")):
        words = json.loads(path.read_text())
        if words["launch"] == wanted:
            return words["message"], words["hint"]
    return None


def awaited(job: Job) -> tuple[str, str]:
    """Return what another rank left, once it has; or that it left nothing, as one that was killed."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        if words := found(job):
            return words
        time.sleep(_POLL_SECONDS)
    return _unsaid(job)


def of_the_lost(job: Job) -> tuple[str, str] | None:
    """Return why torchrun, and no user, asks this rank to stop: another one has failed, with words or without.

    None if all are there. A user's request reaches one rank alone, while the others still run.
    """
    if words := found(job):
        return words
    launcher = psutil.Process().parent()
    if not launched() or launcher is None:
        return None
    alive = [child for child in launcher.children() if child.status() != psutil.STATUS_ZOMBIE]
    return _unsaid(job) if len(alive) < int(os.environ.get("WORLD_SIZE", "1")) else None


def _unsaid(job: Job) -> tuple[str, str]:
    return (
        "another rank ended without a word: it was killed, perhaps for want of memory",
        f"See {job.path / 'log.txt'}; go on with: honed jobs resume {job.id}",
    )


def forget(job: Job) -> None:
    """Remove what earlier launches left."""
    for path in job.path.glob(".rank-*.json"):
        path.unlink(missing_ok=True)


def launched() -> bool:
    """Whether torchrun started this process, to be one of its ranks."""
    return bool(_launch())


def _launch() -> str:
    """What all ranks of one launch by torchrun have in common, and no other launch: one that lingers isn't heard."""
    return os.environ.get("TORCHELASTIC_RUN_ID", "")
