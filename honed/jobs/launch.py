"""The only code that starts workers: a job's, followed, stopped and resumed from outside."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from honed import config
from honed.config import Config
from honed.errors import JobError
from honed.jobs import events, last_words, limits
from honed.jobs.job import GOING, Job, State, Status, pid_space
from honed.jobs.trackers import reader
from honed.store.workspace import write_whole, writing

WORKER = "honed.{stage}.worker"
"""The module that does a stage's work."""

TUNABLES = "GLIBC_TUNABLES"
WHOLE_BLOCKS = "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"
"""What workers that train start with: see ``_whole_blocks``."""

RAY = "honed.{stage}.on_ray"
"""The module that has a stage's work done on Ray."""

TRACKER = "honed.jobs.trackers.beside"
"""The module that sends a job's events to a tracker."""

_OTHERS = {
    "curate": "honed.data.curate.worker",
    "mix": "honed.data.mix.worker",
    "curve": "honed.rounds.curve.worker",
    "judge": "honed.evaluate.judge.worker",
    "map": "honed.data.map.worker",
    "plan": "honed.train.planner",
    "synthesize": "honed.data.synthesize.worker",
    "score": "honed.data.score.worker",
    "select": "honed.data.select.worker",
    "trial": "honed.rounds.trial.worker",
}
"""The modules of jobs that aren't a stage's own, each done by one process whatever its settings say of ranks."""

_MEETING = ".meeting-"
"""Begins the name of the file in a job's folder by which torchrun's agent and the ranks meet."""

_OF_RANKS = re.compile(r"((LOCAL_|GROUP_|ROLE_)?(RANK|WORLD_SIZE)|ROLE_NAME|MASTER_(ADDR|PORT)|(TORCHELASTIC|PET)_.*)$")
"""What torchrun tells its ranks, and is told by ``PET_*``: around honed, as in a Kubeflow pod, it is of another run."""

SAVE_SECONDS = 600.0
"""How long a worker that a user stops may take to end its step and save itself."""

_POLL_SECONDS = 0.1
"""The longest between two looks at a job."""

_KILL_SECONDS = 10.0
"""How long a killed worker may take to end: a process that waits for a disk ends no sooner."""


def start(job: Job) -> None:
    """Start ``python -m honed.<stage>.worker <folder>`` in its own session: it outlives the terminal.

    A job whose settings ask for several ``ranks`` gets as many workers, through torchrun; one that is to run ``on`` Ray
    a process that has Ray start them. Raises ``StoreError`` if the folder can't be written.
    """
    status = job.status()
    if status.state == "running":
        raise JobError(f"job {job.id} is running", f"Watch it: honed jobs follow {job.id}")
    if status.state == "queued" and job.is_starting():
        raise JobError(f"job {job.id} is starting", f"Watch it: honed jobs follow {job.id}")
    command, environment = _command(job, status.stage), _environment(job, status.stage)
    with writing(job.path):
        last_words.forget(job)
        for left in job.path.glob(f"{_MEETING}*"):  # torchrun leaves its file
            left.unlink(missing_ok=True)
    with job.starting() as held:
        job.set_status(status.model_copy(update={"state": "queued"}))  # so that nobody probes the lock the worker wants
        with writing(job.path), (job.path / "log.txt").open("ab") as log:
            worker = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
                pass_fds=[held],
            )
        _until_it_began(job, worker)
    _reap(worker)
    for name in _tracked(job):
        _start_tracker(job, name)


def _until_it_began(job: Job, worker: subprocess.Popen[bytes]) -> None:
    began = time.monotonic()
    try:
        while worker.poll() is None and job.status().state == "queued":
            time.sleep(pause(began))
    except KeyboardInterrupt:
        worker.terminate()  # before its first breath it ends at once, after it as it does by ``stop``
        worker.wait()
        _settle(job, "stopped")
        raise KeyboardInterrupt(f"Go on with: honed jobs resume {job.id}") from None
    if worker.poll():
        _settle(job, "failed", f"the worker of job {job.id} ended before it began", f"See {job.path / 'log.txt'}")


def track(job: Job, name: str) -> None:
    """Let a process beside the job send its events to a tracker, now and whenever the job is resumed."""
    reader.keep(job, name, reader.read(job, name).model_copy(update={"beside": True}))
    _start_tracker(job, name)


def follow(job: Job, start_at: int = 0) -> Iterator[events.Event]:
    """Yield the job's events from byte ``start_at`` on until it ends; never blocks for longer than a poll."""
    path, began = job.path / "events.jsonl", time.monotonic()
    while True:
        ended = job.status().state not in GOING
        for event, offset in events.read(path, start_at):
            start_at = offset
            yield event
        if ended:
            return
        time.sleep(pause(began))


def pause(began: float) -> float:
    """Return the seconds until the next look at a job that has been waited for since ``began``: a tenth of those."""
    return min(_POLL_SECONDS, max(0.01, 0.1 * (time.monotonic() - began)))


def wait(job: Job) -> dict[str, Any]:
    """Wait until the job ends and return its result. Raises ``JobError`` with the worker's words if it isn't done."""
    for _ in follow(job):
        pass
    status = job.status()
    if status.state != "done":
        raise JobError(
            status.message or f"job {job.id} is {status.state}", status.hint or f"See: honed jobs show {job.id}"
        )
    return job.result()


def stop(job: Job, timeout: float = 60.0) -> None:
    """Ask the worker to save a checkpoint and end; kill it if it doesn't within ``timeout`` seconds.

    Raises ``JobError`` if the job isn't running, its worker can't be reached from here, or even a kill doesn't end it.
    """
    status = job.status()
    if status.state == "queued":
        hint = f"Watch it begin: honed jobs follow {job.id}, or, if nothing starts it: honed jobs resume {job.id}"
        raise JobError(f"job {job.id} can't be stopped yet: its worker hasn't begun", hint)
    if status.state != "running":
        raise JobError(f"job {job.id} isn't running: it is {status.state}", "See: honed jobs list")
    _at_hand(job, status)
    there = _send(job, status, signal.SIGTERM)
    began = time.monotonic()
    deadline = began + (timeout if there else 0.0)
    killed: float | None = None
    while job.status().state == "running":
        now = time.monotonic()
        if killed is not None and now - killed > _KILL_SECONDS:
            what = f"job {job.id} still runs, though its process {status.pid} was {'killed' if there else 'not found'}"
            raise JobError(what, f"End what holds it; this names it: fuser {job.path / 'lock'}")
        if now > deadline:
            _send(job, status, signal.SIGKILL)
            killed = killed or now
        time.sleep(pause(began))


def resume(job: Job, settings: Config | None = None) -> None:
    """Start the worker of a stopped, interrupted or failed job again; it goes on from its last checkpoint.

    ``settings`` replace those that it was started with.
    """
    state = job.status().state
    if state not in ("stopped", "interrupted", "failed", "queued"):
        raise JobError(f"job {job.id} can't be resumed: it is {state}", "See: honed jobs list")
    if settings:
        with writing(job.path):
            write_whole(job.path / "config.yaml", config.text(settings))
    start(job)


def _command(job: Job, stage: str) -> list[str]:
    python = [sys.executable, "-P", "-m"]
    if stage in _OTHERS:
        return [*python, _OTHERS[stage], str(job.path)]
    on, ranks = _spread(job)
    if on:
        return [*python, RAY.format(stage=stage), str(job.path)]
    if ranks > 1:
        # They meet in a file that only this user can write: torchrun's port would listen to the whole network, and what
        # stands there is unpickled. The ranks find one another without a name service.
        python += ["torch.distributed.run", "--rdzv-backend", "c10d", "--rdzv-conf", "store_type=file"]
        met = secrets.token_hex(8)
        python += ["--rdzv-endpoint", str(job.path / f"{_MEETING}{met}"), "--rdzv-id", met, "--local-addr", "127.0.0.1"]
        python += ["--nproc-per-node", str(ranks), "-m"]
    return [*python, WORKER.format(stage=stage), str(job.path)]


def _environment(job: Job, stage: str) -> dict[str, str]:
    # PYTHONSAFEPATH for what is started in turn, as -P: the folder that a user happens to be in, a downloaded model
    # say, must not bring modules of its own. PYTHONIOENCODING so that log.txt is UTF-8 whatever the locale, and takes
    # what is no text too; not PYTHONUTF8, under which the worker would look for names of files that a locale of old
    # wrote in other bytes.
    return {
        **_short_spins(),
        **_share_of_threads(job),
        **_time_to_save(job),
        **{name: value for name, value in os.environ.items() if not _OF_RANKS.match(name)},
        **_whole_blocks(job, stage),
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",
        "PYTHONIOENCODING": "utf-8:backslashreplace",
    }


def _spread(job: Job) -> tuple[str, int]:
    """Where the job's workers run, and how many there are; most stages have no such settings."""
    settings = job.settings()
    return str(settings.get("on") or ""), int(settings.get("ranks") or 1)


def _share_of_threads(job: Job) -> dict[str, str]:
    """Let ranks on one machine divide its cores, so that their threads don't wait for one another, nor for a quota.

    Those of a Ray that is started here are on it too, and hear of it from the process that starts Ray. Where all cores
    that a worker may run on are its own, torch knows better: it takes one thread for two that share a core.
    """
    on, ranks = _spread(job)
    threads = max(1, limits.cores() // ranks)
    return {"OMP_NUM_THREADS": str(threads)} if "://" not in on and threads < limits.runs_on() else {}


def _time_to_save(job: Job) -> dict[str, str]:
    """Let ranks whose launcher is asked to end save themselves: torchrun gives them 30 s. Torch of old keeps to these.

    Where a rank has failed the others get no more than that.
    """
    on, ranks = _spread(job)
    return {} if on or ranks == 1 else {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": f"{SAVE_SECONDS:.0f}"}


def _tracked(job: Job) -> list[str]:
    names = [path.stem for path in sorted((job.path / reader.FOLDER).glob("*.json"))]
    return [name for name in names if reader.read(job, name).beside]


def _start_tracker(job: Job, name: str) -> None:
    """Start a tracker's reader in its own session: the job doesn't wait for it, nor it for the terminal."""
    with writing(job.path), (job.path / reader.FOLDER / f"{name}.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", TRACKER, str(job.path), name],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _reap(process)


def _short_spins() -> dict[str, str]:
    """Let threads that wait for one another sleep soon, unless the user has said how they are to wait.

    By default they spin so long that a worker whose cores are wanted by another process too gets slower twentyfold and
    more (docs/results.md). It matters to programs with GNU's OpenMP, as torch's builds for Linux are.
    """
    return {} if os.environ.get("OMP_WAIT_POLICY") else {"GOMP_SPINCOUNT": "20000"}


def _whole_blocks(job: Job, stage: str) -> dict[str, str]:
    """Let a training's freed tensors be one block again at once, so that the next of their size fits (train.heap).

    Only before a process starts can glibc be told so; nothing else reads it. What the user has said of malloc stands.
    """
    theirs = os.environ.get(TUNABLES, "")
    if stage not in ("train", "plan") or _spread(job)[0] or "glibc.malloc." in theirs:
        return {}
    return {TUNABLES: f"{WHOLE_BLOCKS}:{theirs}".rstrip(":")}


def _settle(job: Job, state: State, message: str = "", hint: str = "") -> None:
    """Write how a worker ended that had no time to say so itself."""
    status = job.status()
    if status.state == "queued":
        now = time.time()  # it took no time: neither does the pause before it count as any
        times = {"started": now, "ended": now, "earlier_seconds": job.spent(status)}
        job.set_status(status.model_copy(update={"state": state, "message": message, "hint": hint, **times}))


def _at_hand(job: Job, status: Status) -> None:
    """Refuse a worker whose number means another process here: it runs on another host, or in another container."""
    if status.pid_space not in ("", pid_space()):
        other = "" if status.host != socket.gethostname() else " in another container"
        raise JobError(
            f"job {job.id} runs on {status.host}{other}: stop it there",
            f"There: honed jobs stop {job.id}, or: kill {status.pid}",
        )


def _send(job: Job, status: Status, number: int) -> bool:
    """Send the worker a signal; return whether it is there."""
    if status.pid <= 0:
        return False  # a damaged status: such numbers stand for many processes at once
    try:
        os.kill(status.pid, number)
    except ProcessLookupError:  # it ended by itself in the meantime
        return False
    except PermissionError as error:
        what = f"job {job.id} can't be stopped: its process {status.pid} is another user's"
        raise JobError(what, f"Let that user stop it: honed jobs stop {job.id}") from error
    return True


def _reap(worker: subprocess.Popen[bytes]) -> None:
    """Wait for the child in the background, so that it leaves no zombie and raises no warning when it ends."""
    import threading

    threading.Thread(target=worker.wait, daemon=True).start()
