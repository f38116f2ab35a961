from __future__ import annotations

import errno
import json
import os
import socket
import sys
from pathlib import Path

import pytest

from honed import config
from honed.errors import JobError
from honed.jobs import job as jobs
from honed.jobs.job import Job, Status
from honed.store.workspace import Workspace
from tests.jobs.counting import CountConfig


def _job(workspace: Workspace, name: str, when: float) -> Job:
    made = jobs.create(workspace, "counting", CountConfig())
    job = Job(made.path.rename(workspace.jobs / name))
    os.utime(job.path / "config.yaml", (when, when))
    return job


def test_a_new_job_holds_its_settings_and_is_queued(workspace: Workspace) -> None:
    job = jobs.create(workspace, "counting", CountConfig(steps=7))
    assert config.read(CountConfig, job.path / "config.yaml") == CountConfig(steps=7)
    assert job.status().state == "queued"
    assert job.status().stage == "counting"
    assert job.workspace == workspace


def test_jobs_made_in_the_same_second_have_different_ids(workspace: Workspace) -> None:
    assert len({jobs.create(workspace, "counting", CountConfig()).id for _ in range(5)}) == 5


def test_the_list_is_oldest_first_whatever_the_names(workspace: Workspace) -> None:
    newer, older = _job(workspace, "a", 200.0), _job(workspace, "b", 100.0)
    assert jobs.listing(workspace) == [older, newer]
    assert jobs.find(workspace, "last") == newer


def test_a_folder_that_is_no_job_is_left_out(workspace: Workspace) -> None:
    (workspace.jobs / "notes").mkdir()
    assert jobs.listing(workspace) == []


@pytest.mark.parametrize(
    "held", [b"", b"{", b'{"state": "of another program"}', b'{"stage": "a", "state": "new"}', b"\xff"]
)
def test_a_damaged_status_is_listed_as_unreadable_and_told_when_that_job_is_asked_for(
    workspace: Workspace, held: bytes
) -> None:
    damaged, whole = _job(workspace, "a", 100.0), _job(workspace, "b", 200.0)
    (damaged.path / "status.json").write_bytes(held)
    assert jobs.listing(workspace) == [damaged, whole]
    assert [job.listed().state for job in jobs.listing(workspace)] == ["unreadable", "queued"]
    with pytest.raises(JobError) as raised:
        damaged.status()
    assert raised.value.message == damaged.listed().message
    assert raised.value.message == f"{damaged.path / 'status.json'}: it is damaged, or of another version of honed"
    assert jobs.find(workspace, "b").status().state == "queued"


def test_a_job_without_settings_is_listed_and_told_when_they_are_asked_for(workspace: Workspace) -> None:
    damaged, whole = _job(workspace, "a", 100.0), _job(workspace, "b", 200.0)
    (damaged.path / "config.yaml").unlink()
    os.utime(damaged.path, (100.0, 100.0))
    assert jobs.listing(workspace) == [damaged, whole]
    with pytest.raises(JobError, match=r"config\.yaml: it can't be read: no such file"):
        damaged.settings()


def test_a_folder_that_may_not_be_looked_into_is_listed_as_unreadable(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _job(workspace, "a", 100.0)
    stat = Path.stat

    def forbidden(path: Path, **rest: bool) -> os.stat_result:
        if path.parent == job.path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, **rest)

    monkeypatch.setattr(Path, "stat", forbidden)
    monkeypatch.setattr(Path, "read_bytes", lambda path: forbidden(path))
    (listed,) = jobs.listing(workspace)
    assert listed.listed().message == f"{job.path / 'status.json'}: it can't be read: permission denied"


@pytest.mark.parametrize("id_", ["train-20260101-abcd", "train-20260101", "abcd", "train"])
def test_a_job_is_found_by_its_name_beginning_or_end(workspace: Workspace, id_: str) -> None:
    job = _job(workspace, "train-20260101-abcd", 100.0)
    _job(workspace, "data-20260101-ef01", 200.0)
    assert jobs.find(workspace, id_) == job


def test_an_exact_name_wins_over_a_longer_one(workspace: Workspace) -> None:
    job = _job(workspace, "a", 100.0)
    _job(workspace, "ab", 200.0)
    assert jobs.find(workspace, "a") == job


def test_the_last_job_is_the_one_that_was_begun_last_not_a_step_of_it(workspace: Workspace) -> None:
    _, whole, step, other = (_job(workspace, name, 100.0 + at) for at, name in enumerate("abcd"))
    assert jobs.find(workspace, "last") == other
    kept = {"steps": {"sft": {"asked": 1.0, "job": step.id}, "dpo": {"asked": 2.0}, "gate": {"job": other.id}}}
    (whole.path / jobs.STEPS).write_text(json.dumps(kept))
    assert jobs.find(workspace, "last") == whole


def test_an_id_that_matches_two_jobs_is_refused(workspace: Workspace) -> None:
    _job(workspace, "ab", 100.0)
    _job(workspace, "ac", 200.0)
    with pytest.raises(JobError, match="2 jobs match 'a'"):
        jobs.find(workspace, "a")


@pytest.mark.parametrize("id_", ["last", "nothing", "[", ""])
def test_an_unknown_id_is_refused(workspace: Workspace, id_: str) -> None:
    with pytest.raises(JobError) as raised:
        jobs.find(workspace, id_)
    assert raised.value.hint == "See: honed jobs list"


def test_a_running_job_that_nobody_holds_is_interrupted(workspace: Workspace) -> None:
    job = jobs.create(workspace, "counting", CountConfig())
    job.set_status(Status(stage="counting", state="running"))
    assert job.status().state == "interrupted"
    with job.held():
        assert job.status().state == "running"
    assert job.status().state == "interrupted"


def test_who_may_only_read_sees_whether_a_job_runs(workspace: Workspace) -> None:
    job = jobs.create(workspace, "counting", CountConfig())
    job.set_status(Status(stage="counting", state="running"))
    assert job.status().state == "interrupted" and not (job.path / "lock").exists()
    with job.held():
        (job.path / "lock").write_text("only a writer empties it")  # root may write whatever the mode
        (job.path / "lock").chmod(0o444)
        assert job.status().state == "running"
    assert job.status().state == "interrupted" and (job.path / "lock").read_text()


def test_a_job_is_held_once(workspace: Workspace) -> None:
    job = jobs.create(workspace, "counting", CountConfig())
    with job.held(), pytest.raises(JobError, match="is running"), job.held():
        pass


def test_a_job_that_is_not_done_has_no_result(workspace: Workspace) -> None:
    job = jobs.create(workspace, "counting", CountConfig())
    with pytest.raises(JobError, match="has no result: it is queued"):
        job.result()
    job.set_result({"loss": 1.5})
    assert job.result() == {"loss": 1.5}


def test_a_job_moved_elsewhere_is_still_that_job(workspace: Workspace, tmp_path: Path) -> None:
    job = jobs.create(workspace, "counting", CountConfig(steps=4))
    moved = Job(job.path.rename(tmp_path / "copied"))
    assert moved.status().state == "queued"
    assert config.read(CountConfig, moved.path / "config.yaml").steps == 4


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is the machine's name")
def test_a_machine_that_is_given_another_name_has_the_same_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = jobs.pid_space()
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    assert jobs.pid_space() == before and "pid:[" in before
