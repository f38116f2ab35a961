"""Training on Ray: ``python -m honed.train.on_ray <job folder>`` has Ray start the ranks, here or on many machines.

This process holds the job and writes its status; the ranks do the very work that torchrun's do, and rank 0 of them
writes events, checkpoints and the model into the job's folder, which all machines must see at the same path.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import Any

from honed import config as settings_file
from honed.errors import ConfigError, JobError
from honed.jobs import last_words, worker
from honed.jobs.job import Job
from honed.jobs.worker import Stopped
from honed.store.workspace import write_whole
from honed.train import folder
from honed.train.config import TrainConfig
from honed.train.defaults import check_installed

_STOP = ".stop"
"""A file that asks the ranks to stop: a signal doesn't reach other machines."""

_ENDED = ".ended.json"
"""What rank 0 leaves behind: its result, or null if it was asked to stop."""

_POLL_SECONDS = 0.2

_SEEN_SECONDS = 90.0
"""How long what another machine has written is waited for: NFS may show it up to 60 s late (nfs(5), acdirmax)."""


def drive(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Have Ray do the job's work; return rank 0's result.

    Raises ``ConfigError`` if Ray isn't installed, ``JobError`` with the words of the rank that failed, ``Stopped``.
    """
    config = settings_file.read(TrainConfig, job.path / "config.yaml")
    for left in (_STOP, _ENDED):
        (job.path / left).unlink(missing_ok=True)
    try:
        with _ray(config), _passed_on(job, stopping):
            _fit(job, config)
    except ConfigError:
        raise
    except Exception as error:  # Ray has many; whatever it was, a rank's own words say more
        words = last_words.found(job) or (
            f"Ray ended the training: {next(iter(str(error).splitlines()), type(error).__name__)}",
            f"See {job.path / 'log.txt'}; go on with: honed jobs resume {job.id}",
        )
        raise JobError(*words) from error
    if (result := _left(job)) is None:
        raise Stopped
    return result


def rank(given: dict[str, str]) -> None:
    """What Ray runs in every rank's process; its process group is there already."""
    import torch
    import torch.distributed as dist
    from ray.train.torch import get_device

    from honed.train.worker import work

    if get_device().type == "cuda":
        torch.cuda.set_device(get_device())
    job = Job(Path(given["folder"]), rank=dist.get_rank())

    def kept(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
        ended: dict[str, Any] | None = None
        with suppress(Stopped):
            ended = work(job, stopping)
        if job.rank == 0:
            peaks = ended["ran"]["rank_peak_rss_bytes"] if ended else [0]
            write_whole(job.path / _ENDED, json.dumps({**ended, "peak_rss_bytes": peaks[0]} if ended else None))
        return {}

    with (job.path / "log.txt").open("a") as log, redirect_stderr(log):
        well = worker.quietly(job, kept, (job.path / _STOP).exists)
    if not well:
        raise RuntimeError(f"rank {job.rank} failed")  # so that Ray ends the others, who would wait for it


def _left(job: Job) -> dict[str, Any] | None:
    """What rank 0 left behind, once this machine sees it."""
    path, deadline = job.path / _ENDED, time.monotonic() + _SEEN_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            hint = "All machines must see the workspace under one path, on a disk that they share."
            raise JobError(f"the ranks have ended, and what rank 0 wrote isn't to be seen here: {path}", hint)
        time.sleep(_POLL_SECONDS)
    found: dict[str, Any] | None = json.loads(path.read_text())
    return found


@contextmanager
def _ray(config: TrainConfig) -> Iterator[None]:
    """Ray itself: started on this machine, or reached at its address. It is told to send no statistics of its use."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    check_installed(config.weights, config.on)  # again: a job may be resumed where Ray is missing
    import ray

    before = signal.getsignal(signal.SIGTERM)
    if config.on == "ray":
        ray.init(address="local", include_dashboard=False, log_to_driver=False)
    else:
        ray.init(address=config.on, log_to_driver=False)
    signal.signal(signal.SIGTERM, before)  # Ray would end this process, not the training in order
    try:
        yield
    finally:
        ray.shutdown()


def _fit(job: Job, config: TrainConfig) -> None:
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    there = ray.cluster_resources()
    cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    gpu = config.device == "cuda" or (config.device == "auto" and there.get("GPU", 0) >= config.ranks)
    share = {"GPU": 1.0} if gpu else {"CPU": float(cpus_each(cpus, config.ranks))}
    TorchTrainer(
        rank,
        train_loop_config={"folder": str(job.path)},
        scaling_config=ScalingConfig(num_workers=config.ranks, use_gpu=gpu, resources_per_worker=share),
        run_config=RunConfig(name="ray", storage_path=str(job.path)),
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if gpu else "gloo"),
    ).fit()


def cpus_each(machines: Sequence[int], ranks: int) -> int:
    """Return the most CPUs that each of so many ranks can have, none of them divided among machines; 1 at least."""
    share = max(1, sum(machines) // ranks)
    while share > 1 and sum(cpus // share for cpus in machines) < ranks:
        share -= 1
    return share


@contextmanager
def _passed_on(job: Job, stopping: Callable[[], bool]) -> Iterator[None]:
    """Turn a request to stop into the file that the ranks look for, while the block runs."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_POLL_SECONDS):
            if stopping():
                (job.path / _STOP).touch()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


if __name__ == "__main__":
    worker.main(drive, tidy=folder.tidy)
