"""Training jobs of two ranks as a user meets them: killed, stopped, resumed on another number; on Ray where it is."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml

from honed.errors import ConfigError, JobError
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.events import Step
from honed.jobs.job import Job
from honed.store.workspace import Workspace
from honed.train import checkpoint, run
from tests.train.jobs import finish, losses, settings, start, weights_of

LEAVES = """
import atexit, os
from honed.train import ranks
atexit.register(os.abort)  # what gloo's threads now and then do to a Python that is taken down
print("all done")
ranks.leave(3)
"""

LORA = {"weights": "lora", "lora": {"dropout": 0.1}}


def processes(job: Job) -> list[psutil.Process]:
    """The launcher of a running job, then its ranks."""
    launcher = psutil.Process(job.status().pid).parent()
    assert launcher is not None
    return [launcher, *sorted(launcher.children(), key=lambda child: int(child.environ()["RANK"]))]


def all_gone(some: list[psutil.Process]) -> bool:
    """Wait until all processes have ended; a rank that only waits for others is given 30 s by torchrun."""
    return not psutil.wait_procs([one for one in some if one.pid != os.getpid()], timeout=60)[1]


def until(job: Job, step: int) -> None:
    for event in launch.follow(job):
        if isinstance(event, Step) and event.stage == "train" and event.step >= step:
            return


def equal(home: Workspace, one: str, other: str) -> bool:
    left, right = weights_of(home, one), weights_of(home, other)
    return left.keys() == right.keys() and all(left[name].equal(right[name]) for name in left)


def test_a_rank_that_has_done_its_work_ends_as_it_says_whatever_threads_it_leaves() -> None:
    ended = subprocess.run([sys.executable, "-c", LEAVES], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (3, "all done\n")


def test_torchrun_that_is_asked_to_end_gives_ranks_as_long_to_save_themselves_as_a_stop_does(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = pytest.importorskip("torch.distributed.launcher.api")
    if "shutdown_timeout" not in api.LaunchConfig.__dataclass_fields__:
        pytest.skip("a torch of old")
    job = jobs.create(home, "train", settings(home, name="two", ranks=2))
    for name, value in launch._environment(job, "train").items():
        monkeypatch.setenv(name, value)
    assert api.LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=2).shutdown_timeout == launch.SAVE_SECONDS == 600


def test_kill_9_of_a_rank_in_epoch_2_ends_all_and_a_resume_gives_the_same_weights(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = {"ranks": 2, "stream": True, **LORA}  # in memory, and in shares: tests/numerics/test_ranks.py
    straight = start(home, name="two-straight", **how)
    steps = finish(straight)["steps"]
    with monkeypatch.context() as cold:
        cold.setenv("HONED_TESTS_COLD", "1")  # tests/warm: the processes are torchrun's own
        killed = start(home, name="two-killed", **how)
    until(killed, steps // 2 + 1)
    some = processes(killed)
    assert len(some) == 3 and "store_type=file" in some[0].cmdline()  # no port whose bytes torchrun unpickles
    some[2].send_signal(signal.SIGKILL)
    list(launch.follow(killed))
    status = killed.status()
    assert status.state == "failed" and "another rank ended without a word" in status.message
    assert "honed jobs resume" in status.hint
    assert all_gone(some)
    launch.resume(killed)
    result = finish(killed)
    assert any("resumed after step" in getattr(event, "text", "") for event in killed.events())
    assert losses(killed) == losses(straight)
    assert equal(home, result["model"], straight.result()["model"])
    ran = result["ran"]
    assert (ran["ranks"], ran["placement"], ran["backend"], ran["on"]) == (2, "replicated", "gloo", "this machine")
    assert ran["stream"]
    assert len(ran["rank_peak_rss_bytes"]) == 2
    written = [event.step for event in straight.events() if isinstance(event, Step)]
    assert written == list(range(1, steps + 1))  # by one rank only


def test_two_sharded_ranks_stop_at_one_step_and_are_resumed_by_one(home: Workspace) -> None:
    alone = start(home, name="alone", epochs=4, keep_best=True)
    job = start(home, name="sharded", epochs=4, keep_best=True, ranks=2, shard="fsdp", checkpoint_every=1000)
    expected = finish(alone)
    until(job, 3)
    first = psutil.Process(job.status().pid)
    launch.stop(job)
    assert job.status().state == "stopped" and all_gone([first])
    (saved,) = checkpoint.found(job.path / "checkpoints")
    done = checkpoint.facts(saved)["step"]
    assert len(list(saved.glob("state-0000?-of-00002.safetensors"))) == 2
    run.resume(job, ranks=1)
    result = finish(job)
    assert result["ran"]["ranks"] == 1 and result["ran"]["placement"] == "fsdp"
    assert losses(job).keys() == losses(alone).keys() and 3 <= done < result["steps"]
    for step, loss in losses(alone).items():
        assert losses(job)[step] == pytest.approx(loss, rel=1e-3)
    assert result["published_step"] == expected["published_step"]
    assert result["heldout_loss"] == pytest.approx(expected["heldout_loss"], rel=1e-3)


def test_the_weights_with_the_lowest_held_out_loss_are_kept(home: Workspace) -> None:
    """At this rate the loss leaps about; the model's own held-out loss is that of the step that is named."""
    wild = {"learning_rate": 0.15, "schedule": "constant", "warmup": 0.0}
    job = start(home, name="best", epochs=2, eval_every=4, keep_best=True, **wild)
    result = finish(job)
    measured = {e.step: e.value for e in job.events() if getattr(e, "name", "") == "heldout_loss" and e.step}
    step = min(measured, key=lambda step: measured[step])
    assert (result["published_step"], result["heldout_loss"]) == (step, measured[step]) and step < result["steps"]
    again = start(home, name="again", base=result["model"], epochs=1, learning_rate=1e-9)
    finish(again)
    first = next(event for event in again.events() if getattr(event, "name", "") == "heldout_loss")
    assert first.step == 0 and first.value == pytest.approx(measured[step], rel=1e-5)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cpu_offload": True}, "only shard fsdp"),
        ({"keep_best": True, "eval_rows": 0}, "needs a held-out loss"),
        ({"eval_every": 5, "eval_rows": 0}, "eval_rows 0 turns them off"),
        ({"stream": False, "stream_rows": 9}, "stream false makes none"),
        ({"objective": "kto", "stream_rows": 9}, "kto makes none"),
        ({"on": "kubernetes"}, "should match pattern"),
        ({"ranks": -1}, "greater than or equal to 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    home: Workspace, values: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        settings(home, **values)


def test_ranks_0_is_one_for_each_gpu_and_one_where_there_is_none(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "start", lambda job: None)
    for visible, ranks in (("0,2,3", 3), ("", 1)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        job = start(home, name="counted", ranks=0)
        assert yaml.safe_load((job.path / "config.yaml").read_text())["ranks"] == ranks


def test_only_a_training_is_resumed_on_another_number_of_ranks(home: Workspace, tmp_path: Path) -> None:
    job = jobs.create(home, "evaluate", settings(home))
    with pytest.raises(JobError, match="isn't a training"):
        run.resume(job, 2)


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is here")
def test_ray_that_is_not_installed_is_said_in_words_before_a_job_is_made_and_where_one_is_resumed(
    home: Workspace,
) -> None:
    before = len(list(home.jobs.iterdir()))
    for begin in (run.run, run.plan):
        with pytest.raises(ConfigError, match="Ray isn't installed here") as caught:
            begin(home, settings(home, name="no-ray", ranks=2, on="ray"))
        assert "honed[ray]" in caught.value.hint
    assert len(list(home.jobs.iterdir())) == before
    job = jobs.create(home, "train", settings(home, name="no-ray", ranks=2, on="ray"))  # as on a machine that has it
    launch.start(job)
    list(launch.follow(job))
    assert job.status().state == "failed"
    assert "Ray isn't installed" in job.status().message and "honed[ray]" in job.status().hint


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray isn't here: pip install 'honed[ray]'")
def test_two_ranks_on_a_local_ray_stop_resume_and_give_the_weights_of_torchruns_two(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else Ray leaves a token in the user's home
    here = start(home, name="here", ranks=2, **LORA)
    there = start(home, name="there", ranks=2, on="ray", **LORA)
    expected = finish(here)
    until(there, 3)
    launch.stop(there, timeout=120)
    assert there.status().state == "stopped"
    launch.resume(there)
    result = finish(there)
    assert equal(home, result["model"], expected["model"]) and losses(there) == losses(here)
    assert (result["ran"]["on"], result["ran"]["ranks"]) == ("ray", 2)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of a Ray that runs already, as one of several machines would: a head with a door for clients."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S", "300")  # 30 s are too few for two busy cores
    ports = [_free_port() for _ in range(2)]
    command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--head", "--block"]
    command += [f"--port={ports[0]}", f"--ray-client-server-port={ports[1]}", "--num-cpus=2"]
    command += ["--include-dashboard=false", "--disable-usage-stats"]
    with (tmp_path / "head.txt").open("wb") as log:
        head = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + 90
    while not _listens(ports[1]):
        assert head.poll() is None and time.monotonic() < deadline, (tmp_path / "head.txt").read_text()
        time.sleep(0.2)
    yield f"ray://127.0.0.1:{ports[1]}"
    others = psutil.Process(head.pid).children(recursive=True)
    head.terminate()
    for left in psutil.wait_procs(others, timeout=10)[1]:
        with suppress(psutil.NoSuchProcess):  # it may end by itself just now
            left.kill()
    head.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as there:
        return there.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray isn't here: pip install 'honed[ray]'")
def test_two_ranks_on_a_ray_that_runs_elsewhere_give_the_weights_of_torchruns_two_though_their_driver_is_killed(
    home: Workspace, cluster: str
) -> None:
    here = start(home, name="near", ranks=2, epochs=6, **LORA)
    expected = finish(here)  # before the other is started: two cores have enough to do with Ray
    there = start(home, name="far", ranks=2, on=cluster, epochs=6, **LORA)
    until(there, 3)
    assert there.status().state == "running", (there.path / "log.txt").read_text()
    outlive = list(there.path.glob(".alive-*"))
    os.kill(there.status().pid, signal.SIGKILL)
    list(launch.follow(there))
    launch.resume(there)
    result = finish(there)
    assert len(outlive) == 2 and not list(there.path.glob(".alive-*"))
    assert equal(home, result["model"], expected["model"]) and losses(there) == losses(here)
    assert (result["ran"]["on"], result["ran"]["ranks"]) == (cluster, 2)


def test_the_gpus_of_a_ray_elsewhere_are_not_counted_here(home: Workspace) -> None:
    with pytest.raises(ConfigError, match=r"can't be counted from here"):
        start(home, name="uncounted", ranks=0, on="ray://127.0.0.1:1")
