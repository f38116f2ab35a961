"""Training on Ray: ``python -m honed.train.on_ray <job folder>`` has Ray start the ranks, here or on many machines.

This process holds the job and writes its status; the ranks do the very work that torchrun's do, and rank 0 of them
writes events, checkpoints and the model into the job's folder, which all machines must see at the same path.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, redirect_stderr, suppress
from pathlib import Path
from typing import Any

from honed import config as settings_file
from honed.errors import ConfigError, JobError, first_line
from honed.jobs import cluster, last_words, worker
from honed.jobs.job import Job
from honed.jobs.limits import cores
from honed.jobs.worker import Stopped
from honed.store.workspace import write_whole
from honed.train import folder, lease
from honed.train.config import TrainConfig
from honed.train.defaults import check_installed

_POLL_SECONDS = 0.2

_SEEN_SECONDS = 90.0
"""How long what another machine has written is waited for: NFS may show it up to 60 s late (nfs(5), acdirmax)."""


def drive(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Have Ray do the job's work; return rank 0's result.

    Raises ``ConfigError`` if Ray isn't installed or lacks what the ranks take, ``JobError`` with the words of the rank
    that failed, ``Stopped``.
    """
    config = settings_file.read(TrainConfig, job.path / "config.yaml")
    with lease.driving(job, stopping) as token:
        for left in (*job.path.glob(".stop-*"), *job.path.glob(".ended-*")):
            left.unlink(missing_ok=True)
        try:
            with _ray(config):
                _fitted(job, config, token, stopping)
        except ConfigError:
            raise
        except Exception as error:  # Ray has many; whatever it was, a rank's own words say more
            words = last_words.found(job, token) or (
                f"Ray ended the training: {first_line(error)}",
                f"See {job.path / 'log.txt'}; go on with: honed jobs resume {job.id}",
            )
            raise JobError(*words) from error
        if (result := _left(_ended(job, token))) is None:
            raise Stopped
        return result


def _stop(job: Job, token: str) -> Path:
    """The file that asks the ranks of an attempt to stop: a signal doesn't reach other machines."""
    return job.path / f".stop-{token}"


def _ended(job: Job, token: str) -> Path:
    """The file that rank 0 leaves behind: its result, or null if it was asked to stop."""
    return job.path / f".ended-{token}.json"


def rank(given: dict[str, str]) -> None:
    """What Ray runs in every rank's process; its process group is there already."""
    import torch
    import torch.distributed as dist
    from ray.train.torch import get_device

    from honed.train.worker import work

    if get_device().type == "cuda":
        torch.cuda.set_device(get_device())
    job, token = Job(Path(given["folder"]), rank=dist.get_rank()), given["token"]

    def kept(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
        ended: dict[str, Any] | None = None
        with suppress(Stopped):
            ended = work(job, stopping)
        if job.rank == 0:
            peaks = ended["ran"]["rank_peak_rss_bytes"] if ended else [0]
            write_whole(_ended(job, token), json.dumps({**ended, "peak_rss_bytes": peaks[0]} if ended else None))
        return {}

    with (job.path / "log.txt").open("a") as log, redirect_stderr(log), lease.living(job, token):
        well = worker.quietly(job, kept, _stop(job, token).exists, token)
    if not well:
        raise RuntimeError(f"rank {job.rank} failed")  # so that Ray ends the others, who would wait for it


def _left(path: Path) -> dict[str, Any] | None:
    """What rank 0 left behind, once this machine sees it."""
    deadline = time.monotonic() + _SEEN_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            hint = "All machines must see the workspace under one path, on a disk that they share."
            raise JobError(f"the ranks have ended, and what rank 0 wrote isn't to be seen here: {path}", hint)
        time.sleep(_POLL_SECONDS)
    found: dict[str, Any] | None = json.loads(path.read_text())
    return found


def _ray(config: TrainConfig) -> AbstractContextManager[None]:
    """Ray itself. Of this machine's own CPUs ranks may have less than one each."""
    assert config.on, "launch.py starts this where it is set"
    check_installed(config.weights, config.on)  # again: a job may be resumed where something is missing
    return cluster.ray(config.on, max(cores(), config.ranks))


def _fitted(job: Job, config: TrainConfig, token: str, stopping: Callable[[], bool]) -> None:
    """Have Ray train, and pass a request to stop on to the ranks; raise ``Stopped`` if Ray hasn't begun any yet."""
    faults: list[Exception] = []

    def fit() -> None:
        try:
            _fit(job, config, token)
        except Exception as fault:  # noqa: BLE001 - raised where it is waited for
            faults.append(fault)

    fitting, asked = threading.Thread(target=fit, daemon=True), False
    fitting.start()
    while fitting.is_alive():
        fitting.join(_POLL_SECONDS)
        if stopping() and not asked:
            asked = True
            _stop(job, token).touch()
            if fitting.is_alive() and not _begun(job, config, token):  # it may wait for machines without end
                raise Stopped
    if faults:
        raise faults[0]


def _begun(job: Job, config: TrainConfig, token: str) -> bool:
    """Whether ranks are at work, or have been: they left something behind then."""
    at_work = lease.begun(job, token, config.ranks)  # first: what they leave is there before they end
    return at_work or _ended(job, token).exists() or last_words.found(job, token) is not None


def _fit(job: Job, config: TrainConfig, token: str) -> None:
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    gpus = int(ray.cluster_resources().get("GPU", 0))
    cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    check_room(job, config, sum(cpus), gpus)
    gpu = _on_gpus(config, gpus)
    share = {"GPU": 1.0} if gpu else {"CPU": float(cpus_each(cpus, config.ranks))}
    TorchTrainer(
        rank,
        train_loop_config={"folder": str(job.path), "token": token},
        scaling_config=ScalingConfig(num_workers=config.ranks, use_gpu=gpu, resources_per_worker=share),
        run_config=RunConfig(name="ray", storage_path=str(job.path)),
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if gpu else "gloo"),
    ).fit()


def _on_gpus(config: TrainConfig, gpus: int) -> bool:
    return config.device == "cuda" or (config.device == "auto" and gpus >= config.ranks)


def check_room(job: Job, config: TrainConfig, cpus: int, gpus: int) -> None:
    """Raise ``ConfigError`` if not every rank can have a GPU of this machine; of a cluster, which may grow, say so.

    Ray would wait for them without a word.
    """
    if gpus and not _on_gpus(config, gpus) and config.device == "auto":
        more = f"set ranks {gpus} to train on them" if config.on == "ray" else "device: cuda waits for more"
        job.log.note(f"on CPUs: ranks {config.ranks}, and Ray has {gpus} GPUs; {more}")
    have, what = (gpus, "GPUs") if _on_gpus(config, gpus) else (cpus, "CPUs")
    if have >= config.ranks:
        return
    lacks = f"ranks {config.ranks}, and Ray has {have} {what}"
    if config.on == "ray":
        raise ConfigError(lacks, f"Set ranks {have}, or device cpu." if have else "Set device cpu.")
    job.log.note(f"{lacks} now: it waits for more")


def cpus_each(machines: Sequence[int], ranks: int) -> int:
    """Return the most CPUs that each of so many ranks can have, none of them divided among machines; 1 at least."""
    share = max(1, sum(machines) // ranks)
    while share > 1 and sum(cpus // share for cpus in machines) < ranks:
        share -= 1
    return share


if __name__ == "__main__":
    worker.main(drive, tidy=folder.tidy)
