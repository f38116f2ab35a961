from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from honed.errors import JobError
from honed.jobs import job as jobs
from honed.jobs import launch, limits
from honed.jobs.events import Done, Failed, Note, Step
from honed.jobs.job import Job, Status
from honed.store.workspace import Workspace
from tests.jobs.counting import CountConfig


def _start(workspace: Workspace, **settings: object) -> Job:
    job = jobs.create(workspace, "counting", CountConfig.model_validate(settings))
    launch.start(job)
    return job


def _until_step(job: Job, step: int) -> None:
    for event in launch.follow(job):
        if isinstance(event, Step) and event.step >= step:
            return


def _ended(job: Job) -> str:
    list(launch.follow(job))
    return job.status().state


def test_what_glibc_is_told_of_trainings_leaves_what_the_user_told_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs.create(workspace, "counting", CountConfig())
    monkeypatch.delenv(launch.TUNABLES, raising=False)
    assert launch._whole_blocks(job, "train") == {launch.TUNABLES: launch.WHOLE_BLOCKS}
    assert launch._whole_blocks(job, "counting") == {}
    monkeypatch.setenv(launch.TUNABLES, "glibc.rtld.nns=4")
    assert launch._whole_blocks(job, "plan") == {launch.TUNABLES: f"{launch.WHOLE_BLOCKS}:glibc.rtld.nns=4"}
    monkeypatch.setenv(launch.TUNABLES, "glibc.malloc.tcache_count=3")
    assert launch._whole_blocks(job, "train") == {}


def test_ranks_divide_the_cores_that_this_process_may_use(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    monkeypatch.setattr(limits, "_quotas", lambda: ())
    for ranks, on, threads in (
        (1, None, {}),
        (2, None, {"OMP_NUM_THREADS": "1"}),
        (4, None, {"OMP_NUM_THREADS": "1"}),
        (2, "ray", {"OMP_NUM_THREADS": "1"}),
        (2, "ray://there:10001", {}),
    ):
        assert launch._share_of_threads(jobs.create(workspace, "counting", CountConfig(ranks=ranks, on=on))) == threads


def test_a_job_runs_to_its_result(workspace: Workspace) -> None:
    job = _start(workspace, steps=3)
    seen = list(launch.follow(job))
    assert [event.step for event in seen if isinstance(event, Step)] == [1, 2, 3]
    assert isinstance(seen[-1], Done)
    status = job.status()
    assert (status.state, status.attempt) == ("done", 1)
    assert status.ended >= status.started > 0
    result = job.result()
    assert (result["counted"], result["from"]) == (3, 0)
    assert result["seconds"] >= 0
    assert result["peak_rss_bytes"] > 0


def test_following_from_an_offset_gives_only_what_came_after(workspace: Workspace) -> None:
    job = _start(workspace, steps=2)
    assert _ended(job) == "done"
    assert list(launch.follow(job, start_at=(job.path / "events.jsonl").stat().st_size)) == []


@pytest.mark.parametrize(
    ("fail", "message", "hint"),
    [
        ("user", "rows.json:3: answer: it is empty", "Write an answer, or remove the row."),
        ("own", "honed failed: ValueError: a fault of our own", "please report it with"),
        ("disk", "the disk is full", "honed jobs resume"),
        ("memory", "out of memory", "a larger machine"),
        (
            "pool",
            "a process of this job was killed, most likely for want of memory",
            "a larger machine. On fewer cores",
        ),
    ],
)
def test_a_failure_is_told_in_the_status_the_events_and_the_log(
    workspace: Workspace, fail: str, message: str, hint: str
) -> None:
    job = _start(workspace, fail=fail)
    last = list(launch.follow(job))[-1]
    status = job.status()
    assert status.state == "failed"
    assert message in status.message
    assert hint in status.hint
    assert isinstance(last, Failed)
    assert (last.message, last.hint) == (status.message, status.hint)
    assert "Traceback" in (job.path / "log.txt").read_text()


def test_the_log_is_utf_8_whatever_the_locale(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LC_ALL", "C"), ("PYTHONUTF8", "0"), ("PYTHONCOERCECLOCALE", "0")):
        monkeypatch.setenv(name, value)
    job = _start(workspace, fail="town")
    assert _ended(job) == "failed"
    assert "ValueError: Zürich" in (job.path / "log.txt").read_text(encoding="utf-8")


def test_a_worker_killed_at_once_leaves_an_interrupted_job_that_resumes_from_its_checkpoint(
    workspace: Workspace,
) -> None:
    job = _start(workspace, steps=40, seconds=0.05)
    _until_step(job, 3)
    os.kill(job.status().pid, signal.SIGKILL)
    assert _ended(job) == "interrupted"
    launch.resume(job, CountConfig(steps=40))  # at once
    assert _ended(job) == "done"
    assert job.status().attempt == 2
    assert job.result()["counted"] == 40
    assert job.result()["from"] >= 2


def test_a_stopped_job_has_saved_itself_and_resumes(workspace: Workspace) -> None:
    job = _start(workspace, steps=40, seconds=0.05)
    _until_step(job, 2)
    launch.stop(job)
    assert job.status().state == "stopped"
    at = int((job.path / "checkpoint.txt").read_text())
    launch.resume(job, CountConfig(steps=40))
    assert _ended(job) == "done"
    assert job.result()["from"] == at
    assert [event.text for event in job.events() if isinstance(event, Note)] == [
        "counting from 0",
        f"counting from {at}",
    ]


def test_seconds_are_those_of_all_attempts_without_the_pauses(workspace: Workspace) -> None:
    job = _start(workspace, steps=1, fail="own")
    assert _ended(job) == "failed"
    day = 86_400.0
    job.set_status(job.status().model_copy(update={"started": time.time() - day, "ended": time.time() - day + 500}))
    launch.resume(job)
    *_, last = launch.follow(job)
    assert 500 <= job.result()["seconds"] < 600
    assert isinstance(last, Done) and last.seconds == job.result()["seconds"]
    assert job.status().earlier_seconds == pytest.approx(500)


def test_an_attempt_that_was_cut_off_lasted_to_its_last_event(workspace: Workspace) -> None:
    job = jobs.create(workspace, "counting", CountConfig())
    assert job.spent(job.status()) == 0
    job.set_status(Status(stage="counting", state="running", attempt=2, started=100.0, earlier_seconds=5.0))
    assert job.spent(job.status()) == 5  # it said nothing
    job.log.write(Note(time=130.0, text="about to be killed"))
    assert job.spent(job.status()) == job.begin().earlier_seconds == 35


def test_an_attempt_that_never_began_took_no_time(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    job = _start(workspace, steps=1, fail="own")
    assert _ended(job) == "failed"
    job.set_status(job.status().model_copy(update={"started": 1000.0, "ended": 1500.0}))
    monkeypatch.setattr(launch, "WORKER", "tests.jobs.no_such_{stage}")
    launch.resume(job)
    assert job.status().state == "failed"
    assert job.spent(job.status()) == 500


def test_a_failed_job_resumes(workspace: Workspace) -> None:
    job = _start(workspace, steps=1, fail="own")
    assert _ended(job) == "failed"
    launch.resume(job)  # the one step that could fail is done
    assert _ended(job) == "done"
    assert (job.status().attempt, job.status().message) == (2, "")


def test_a_worker_that_will_not_stop_is_killed(workspace: Workspace) -> None:
    job = _start(workspace, steps=400, seconds=0.05, deaf=True)
    launch.stop(job, timeout=0.2)
    assert job.status().state == "interrupted"


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is no worker."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize(
    ("host", "space", "where"),
    [
        ("far", "another-boot pid:[4026531836]", "far"),
        (socket.gethostname(), "this-boot pid:[1]", f"{socket.gethostname()} in another container"),
    ],
)
def test_a_job_that_runs_elsewhere_is_not_stopped_by_a_number_that_is_a_strangers_here(
    workspace: Workspace, stranger: subprocess.Popen[bytes], host: str, space: str, where: str
) -> None:
    job = jobs.create(workspace, "counting", CountConfig())
    with job.held():
        status = job.begin().model_copy(update={"pid": stranger.pid, "host": host, "pid_space": space})
        job.set_status(status)
        with pytest.raises(JobError) as raised:
            launch.stop(job, timeout=0.0)
    assert raised.value.message == f"job {job.id} runs on {where}: stop it there"
    assert f"kill {stranger.pid}" in raised.value.hint
    assert stranger.poll() is None


@pytest.mark.parametrize("pid", ["gone", 0, -1])
def test_a_stop_that_finds_no_worker_ends_with_a_word(
    workspace: Workspace, stranger: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, pid: int | str
) -> None:
    stranger.kill()
    stranger.wait()
    monkeypatch.setattr(launch, "_KILL_SECONDS", 0.2)
    sent: list[int] = []
    kill = os.kill
    monkeypatch.setattr(os, "kill", lambda to, number: sent.append(to) if to <= 0 else kill(to, number))
    job = jobs.create(workspace, "counting", CountConfig())
    job.set_status(Status(stage="counting", state="running", pid=stranger.pid if pid == "gone" else int(pid)))
    with job.held(), pytest.raises(JobError, match=r"still runs, though its process .* was not found"):
        launch.stop(job, timeout=600.0)
    assert sent == []  # 0 and -1 stand for whole groups of processes


def test_a_kill_that_does_not_end_a_job_is_told(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_KILL_SECONDS", 0.2)
    monkeypatch.setattr(os, "kill", lambda _, number: None)
    job = jobs.create(workspace, "counting", CountConfig())
    with job.held():
        job.begin()
        with pytest.raises(JobError, match="was killed") as raised:
            launch.stop(job, timeout=0.0)
    assert str(job.path / "lock") in raised.value.hint


def test_a_job_of_another_user_is_not_ours_to_stop(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_: int, number: int) -> None:
        raise PermissionError(number)

    monkeypatch.setattr(os, "kill", forbidden)
    job = jobs.create(workspace, "counting", CountConfig())
    with job.held():
        job.begin()
        with pytest.raises(JobError, match="is another user's"):
            launch.stop(job)


def test_a_running_job_is_neither_started_nor_resumed_again(workspace: Workspace) -> None:
    job = _start(workspace, steps=400, seconds=0.05)
    pid = job.status().pid
    with pytest.raises(JobError, match="is running"):
        launch.start(job)
    with pytest.raises(JobError, match="can't be resumed: it is running"):
        launch.resume(job)
    assert job.status().pid == pid
    launch.stop(job)


def test_a_job_that_is_done_is_neither_stopped_nor_resumed(workspace: Workspace) -> None:
    job = _start(workspace, steps=1)
    assert _ended(job) == "done"
    with pytest.raises(JobError, match="isn't running: it is done"):
        launch.stop(job)
    with pytest.raises(JobError, match="can't be resumed: it is done"):
        launch.resume(job)


def test_a_worker_that_never_begins_is_a_failed_job_not_an_endless_wait(workspace: Workspace) -> None:
    job = jobs.create(workspace, "no_such_stage", CountConfig())
    launch.start(job)
    assert _ended(job) == "failed"
    assert "ended before it began" in job.status().message
    assert "No module named" in (job.path / "log.txt").read_text()


def test_a_job_whose_starter_and_worker_are_gone_before_it_began_is_interrupted_and_resumes(
    workspace: Workspace,
) -> None:
    job = jobs.create(workspace, "counting", CountConfig())
    code = (
        "import sys, pathlib; from honed.jobs import job, launch; launch.WORKER = 'tests.jobs.unborn';"
        "launch.start(job.Job(pathlib.Path(sys.argv[1])))"
    )
    starter = psutil.Popen([sys.executable, "-c", code, str(job.path)])
    deadline = time.monotonic() + 60
    while not (children := starter.children()):
        assert starter.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    starter.kill()
    starter.wait()
    assert job.status().state == "queued"  # the worker may yet begin
    with pytest.raises(JobError, match="its worker hasn't begun"):
        launch.stop(job)
    with pytest.raises(JobError, match="is starting"):  # a second worker would find it held
        launch.resume(job)
    children[0].kill()
    assert _ended(job) == "interrupted"
    launch.resume(job)
    assert _ended(job) == "done"


def test_ctrl_c_while_the_worker_starts_ends_it(workspace: Workspace) -> None:
    job = jobs.create(workspace, "counting", CountConfig(steps=400, seconds=0.05))
    threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        launch.start(job)
        time.sleep(5)
    if job.status().state == "running":  # it began before the signal came
        launch.stop(job)
    assert job.status().state == "stopped"


def test_a_worker_is_in_a_session_of_its_own_so_that_it_outlives_the_terminal(workspace: Workspace) -> None:
    job = _start(workspace, steps=400, seconds=0.05)
    pid = job.status().pid
    assert os.getsid(pid) == pid != os.getsid(0)
    launch.stop(job)


def test_a_worker_takes_no_module_from_the_folder_that_the_user_is_in(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pydantic.py").write_text("raise SystemExit('a module of a downloaded folder ran')")
    monkeypatch.chdir(tmp_path)
    assert launch.wait(_start(workspace, steps=1))["counted"] == 1


def _processes(job: Job) -> list[psutil.Process]:
    """The launcher of a job of two ranks, then the ranks, once both are there."""
    launcher = psutil.Process(job.status().pid).parent()
    assert launcher is not None
    children = [child for child in launcher.children() if "RANK" in child.environ()]  # not the tests' own zygote
    ranks = sorted(children, key=lambda child: int(child.environ()["RANK"]))
    assert len(ranks) == 2
    return [launcher, *ranks]


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_job_takes_no_part_in_the_run_of_torchrun_around_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, ranks: int
) -> None:
    around = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3", "GROUP_RANK": "1"}
    around |= {"MASTER_ADDR": "elsewhere", "MASTER_PORT": "1", "TORCHELASTIC_RUN_ID": "theirs", "PET_NNODES": "2"}
    for name, value in around.items():
        monkeypatch.setenv(name, value)
    job = _start(workspace, steps=200, seconds=0.05, ranks=ranks)
    told = psutil.Process(job.status().pid).environ()
    assert not around.items() & told.items()
    launch.stop(job)
    assert job.status().state == "stopped"


def test_of_several_ranks_one_is_heard(workspace: Workspace) -> None:
    job = _start(workspace, steps=3, ranks=2)
    assert [event.step for event in launch.follow(job) if isinstance(event, Step)] == [1, 2, 3]
    assert (job.status().state, job.status().attempt, job.result()["counted"]) == ("done", 1, 3)


@pytest.mark.parametrize("killed", ["launcher", "rank 0", "rank 1"])
def test_a_kill_of_the_launcher_or_a_rank_leaves_no_process_behind_and_a_job_that_resumes(
    workspace: Workspace, killed: str
) -> None:
    job = _start(workspace, steps=400, seconds=0.05, ranks=2)
    _until_step(job, 2)
    processes = _processes(job)
    processes[["launcher", "rank 0", "rank 1"].index(killed)].kill()
    assert _ended(job) == ("stopped" if killed == "rank 1" else "interrupted")
    assert psutil.wait_procs(processes, timeout=60)[1] == []
    launch.resume(job, CountConfig(steps=3))  # settings may change: one rank goes on
    assert _ended(job) == "done"
