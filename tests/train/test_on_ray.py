"""What the process does that has Ray run a training, without Ray; with it: ``test_ranks.py``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from honed.errors import ConfigError, JobError
from honed.jobs import cluster, last_words
from honed.jobs import job as jobs
from honed.jobs.events import Note
from honed.jobs.job import Job
from honed.jobs.worker import Stopped
from honed.store.workspace import Workspace
from honed.train import lease, on_ray
from tests.train.jobs import settings


@pytest.mark.parametrize(
    ("machines", "ranks", "each"),
    [([8, 8], 2, 8), ([8, 8], 3, 4), ([4, 16], 2, 8), ([4, 16], 4, 4), ([2], 1, 2), ([2], 8, 1), ([], 2, 1)],
)
def test_ranks_on_unequal_machines_of_ray_get_cpus_that_they_can_all_have(
    machines: list[int], ranks: int, each: int
) -> None:
    assert on_ray.cpus_each(machines, ranks) == each


@pytest.mark.parametrize(
    ("device", "ranks", "cpus", "gpus", "lacks"),
    [
        ("cuda", 8, 64, 4, "ranks 8, and Ray has 4 GPUs"),
        ("cuda", 8, 64, 0, "ranks 8, and Ray has 0 GPUs"),
        ("cpu", 8, 4, 8, "ranks 8, and Ray has 4 CPUs"),
        ("auto", 8, 4, 0, "ranks 8, and Ray has 4 CPUs"),
        ("auto", 8, 64, 4, ""),
        ("auto", 8, 4, 8, ""),
        ("cuda", 4, 2, 4, ""),
    ],
)
def test_ranks_that_ray_cannot_all_run_are_refused_here_and_told_of_on_a_cluster_which_may_grow(
    home: Workspace, device: str, ranks: int, cpus: int, gpus: int, lacks: str
) -> None:
    for on in ("ray", "ray://there:10001"):
        config = settings(home, name="there", device=device, ranks=ranks, on=on)
        job = jobs.create(home, "train", config)
        refused = pytest.raises(ConfigError, match=lacks) if lacks and on == "ray" else nullcontext()
        with refused:
            on_ray.check_room(job, config, cpus, gpus)
        told = [event.text for event in job.events() if isinstance(event, Note)]
        if device == "auto" and 0 < gpus < ranks:
            more = "set ranks 4 to train on them" if on == "ray" else "device: cuda waits for more"
            assert told.pop(0) == f"on CPUs: ranks 8, and Ray has 4 GPUs; {more}"
        assert told == ([f"{lacks} now: it waits for more"] if lacks and on != "ray" else [])


def test_a_ray_that_is_started_here_runs_more_ranks_than_there_are_cores_and_listens_to_this_machine_alone(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    ray = SimpleNamespace(init=lambda **how: given.update(how), shutdown=lambda: None)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(cluster, "check_installed", lambda: None)
    monkeypatch.setattr(os, "environ", {})
    with on_ray._ray(settings(home, name="there", ranks=999, on="ray")):
        assert given["num_cpus"] == 999
        assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"


def _job_on_ray(home: Workspace) -> Job:
    return jobs.create(home, "train", settings(home, name="there", ranks=2, on="ray"))


def _driven(
    job: Job,
    monkeypatch: pytest.MonkeyPatch,
    fit: Callable[[Job, str], object],
    stopping: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """What the job's process makes of what happens on Ray, without Ray."""
    monkeypatch.setattr(on_ray, "_ray", lambda _: nullcontext())
    monkeypatch.setattr(on_ray, "_fit", lambda job, _, token: fit(job, token))
    return on_ray.drive(job, stopping)


def _leave(job: Job, token: str, result: str = '{"loss": 0.5}') -> None:
    (job.path / f".ended-{token}.json").write_text(result)


def test_what_rank_0_leaves_behind_on_ray_is_the_result(home: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _driven(_job_on_ray(home), monkeypatch, _leave) == {"loss": 0.5}
    with pytest.raises(Stopped):
        _driven(_job_on_ray(home), monkeypatch, partial(_leave, result="null"))


def test_a_request_to_stop_reaches_ranks_on_ray_as_a_file_and_what_they_then_leave_is_the_result(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def fit(job: Job, token: str) -> None:
        with lease.living(Job(job.path, rank=1), token):
            asked.append(True)
            while not (job.path / f".stop-{token}").exists():
                time.sleep(0.01)
            _leave(job, token)

    assert _driven(_job_on_ray(home), monkeypatch, fit, lambda: bool(asked)) == {"loss": 0.5}


def test_a_run_on_ray_whose_ranks_have_ended_is_not_taken_for_one_that_never_began(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def fit(job: Job, token: str) -> None:
        _leave(job, token)
        asked.append(True)
        time.sleep(0.5)

    assert _driven(_job_on_ray(home), monkeypatch, fit, lambda: bool(asked)) == {"loss": 0.5}


def test_a_job_for_which_ray_has_begun_no_rank_stops_at_once(home: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    before = time.monotonic()
    with pytest.raises(Stopped):
        _driven(_job_on_ray(home), monkeypatch, lambda *_: time.sleep(30), lambda: True)
    assert time.monotonic() - before < 10


def test_what_rank_0_left_on_another_machine_is_waited_for_until_it_is_seen_here(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(job: Job, token: str) -> None:
        threading.Timer(0.5, _leave, [job, token]).start()

    assert _driven(_job_on_ray(home), monkeypatch, fit) == {"loss": 0.5}
    monkeypatch.setattr(on_ray, "_SEEN_SECONDS", 0.0)
    with pytest.raises(JobError, match=r"isn't to be seen here: .*\.ended"):
        _driven(_job_on_ray(home), monkeypatch, lambda *_: None)


def test_the_words_of_a_rank_that_failed_on_ray_are_the_jobs_else_rays_own(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(job: Job, token: str, words: str) -> None:
        last_words.leave(Job(job.path, rank=1), "out of memory", "Lower pack_tokens.", words or token)
        raise RuntimeError("2 workers died\nmore of it")

    for words, expected in (("", "rank 1: out of memory"), ("another", "Ray ended the training: 2 workers died")):
        with pytest.raises(JobError, match=expected):
            _driven(_job_on_ray(home), monkeypatch, partial(fit, words=words))


@pytest.mark.parametrize("where", ["another machine", "a killed one's", "here, and gone"])
def test_ranks_that_outlived_a_killed_driver_are_waited_for_before_ray_begins_others(
    home: Workspace, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    job, seen = _job_on_ray(home), list[bool]()
    alive, ended = job.path / ".alive-1-old", subprocess.Popen(["true"])
    ended.wait()
    space = jobs.pid_space() if where == "here, and gone" else "elsewhere"
    alive.write_text(json.dumps({"pid": ended.pid, "pid_space": space}))
    if where == "another machine":
        threading.Timer(0.5, alive.unlink).start()
    elif where == "a killed one's":  # which can't take its file away
        monkeypatch.setattr(lease, "_GONE_SECONDS", 0.5)

    def fit(job: Job, token: str) -> None:
        seen.append(alive.exists())
        _leave(job, token)

    assert _driven(job, monkeypatch, fit) == {"loss": 0.5} and seen == [False]
    told = [event.text for event in job.events() if isinstance(event, Note)]
    assert bool(told) == (where != "here, and gone")


def test_a_job_that_waits_for_ranks_of_another_attempt_stops_when_asked(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _job_on_ray(home)
    (job.path / ".alive-1-old").write_text(json.dumps({"pid": 1, "pid_space": "elsewhere"}))
    with pytest.raises(Stopped):
        _driven(job, monkeypatch, lambda *_: None, lambda: True)
