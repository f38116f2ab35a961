from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path

import pytest

from honed import config
from honed.cli import main
from honed.errors import StoreError
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.events import Metric
from honed.jobs.job import Job
from tests.jobs.counting import CountConfig


def _run(capsys, job: Job, *args: str) -> tuple[int, str, str]:
    code = main.run(["jobs", *args, "--workspace", str(job.workspace.path)])
    said = capsys.readouterr()
    return code, said.out, said.err


def _ended(job: Job) -> Job:
    list(launch.follow(job))
    return job


def test_the_list_names_each_job_and_its_state(start, capsys) -> None:
    done, failed = _ended(start()), _ended(start(fail="user"))
    code, out, _ = _run(capsys, done, "list")
    header, first, second = out.splitlines()
    assert code == 0
    assert header.split() == ["job", "state", "started", "took", "message"]
    assert first.split()[:2] == [done.id, "done"]
    assert second.split()[:2] == [failed.id, "failed"]
    assert second.endswith("rows.json:3: answer: it is empty")
    _, out, _ = _run(capsys, done, "list", "--json")
    assert [(job["id"], job["state"]) for job in json.loads(out)["jobs"]] == [(done.id, "done"), (failed.id, "failed")]


def test_show_tells_settings_progress_result_and_files(start, capsys) -> None:
    job = _ended(start(steps=3))
    code, out, _ = _run(capsys, job, "show", "last")
    assert code == 0
    for part in (job.id, "state    done", "steps    3", "count 3/3", "counting from 0", "counted", "checkpoint.txt"):
        assert part in out, part
    assert "log.txt\n" not in out.partition("files")[0]
    _, out, _ = _run(capsys, job, "show", job.id, "--json")
    document = json.loads(out)
    assert document["settings"]["steps"] == 3
    assert document["result"]["counted"] == 3
    assert document["progress"][0]["step"] == 3
    assert "events.jsonl" in document["files"]


def test_show_of_a_failed_job_gives_the_end_of_its_log_and_the_way_on(start, capsys) -> None:
    job = _ended(start(fail="own"))
    _, out, _ = _run(capsys, job, "show", job.id)
    assert "failed: honed failed: ValueError: a fault of our own" in out
    assert "  ValueError: a fault of our own" in out
    assert f"honed jobs resume {job.id}" in out


def test_show_of_a_queued_job_gives_the_way_on(workspace, capsys) -> None:
    job = jobs.create(workspace, "counting", CountConfig())
    _, out, _ = _run(capsys, job, "show", job.id)
    assert f"honed jobs follow {job.id}" in out and f"honed jobs resume {job.id}" in out


def test_stop_then_resume_goes_on_where_it_was(start, capsys) -> None:
    job = start(steps=40, seconds=0.05)
    code, out, err = _run(capsys, job, "stop", "last")
    assert code == 0
    assert out == f"job {job.id} is stopped. Go on with: honed jobs resume {job.id}\n"
    assert "saves its state first" in err
    config.save(CountConfig(steps=40), job.path / "config.yaml")  # it counts on at once
    code, out, err = _run(capsys, job, "resume", "last", "--json")
    assert code == 0
    assert json.loads(out)["result"]["counted"] == 40
    assert "counting from 0" not in err  # the first attempt's events aren't told again


def test_took_is_the_time_of_all_attempts(start, capsys) -> None:
    job = _ended(start())
    job.set_status(job.status().model_copy(update={"started": 1000.0, "ended": 1065.0, "earlier_seconds": 60.0}))
    assert "2:05" in _run(capsys, job, "list")[1]
    assert "took     2:05" in _run(capsys, job, "show", job.id)[1]


def test_what_a_job_says_does_not_rule_the_terminal(start, capsys) -> None:
    job = _ended(start(fail="own"))
    job.log.note("\x1b]0;a title\x07note")
    job.log.write(Metric(name="\x1b[2Jmetric", value=0.5))
    (job.path / "log.txt").write_text("\x1b[31mred\n")
    job.set_status(job.status().model_copy(update={"message": "\x1b[2Jfirst\nsecond"}))
    for words in (["list"], ["show", job.id], ["follow", job.id]):
        _, out, err = _run(capsys, job, *words)
        assert "␛[2Jfirst second" in out + err, words
        assert "\x1b" not in out + err, words
    assert len(_run(capsys, job, "list")[1].splitlines()) == 2


def test_follow_of_a_job_that_ended_tells_it_from_the_beginning(start, capsys) -> None:
    job = _ended(start(steps=2))
    code, out, err = _run(capsys, job, "follow", job.id)
    assert code == 0
    assert "counted" in out
    assert "counting from 0" in err


def test_a_killed_job_is_shown_as_interrupted_and_resumes(start, capsys) -> None:
    job = start(steps=20, seconds=0.05)
    os.kill(job.status().pid, signal.SIGKILL)
    code, _, err = _run(capsys, job, "follow", job.id)
    assert code == 1
    assert err.endswith(f"  Go on with: honed jobs resume {job.id}\n")
    _, out, _ = _run(capsys, job, "list")
    assert "interrupted" in out
    config.save(CountConfig(steps=20), job.path / "config.yaml")
    code, out, _ = _run(capsys, job, "resume", job.id)
    assert code == 0


@pytest.fixture
def damaged(workspace) -> Job:
    """A job of which a power cut left an empty status."""
    job = jobs.create(workspace, "counting", CountConfig())
    (job.path / "status.json").write_bytes(b"")
    return job


def test_a_damaged_job_leaves_the_list_and_the_others_as_they_are(start, damaged, capsys) -> None:
    job = _ended(start())
    (job.path.parent / "foreign").mkdir()
    (job.path.parent / "foreign" / "status.json").write_text("[]")
    code, out, _ = _run(capsys, job, "list")
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert code == 0 and "done" in lines[job.id]
    assert lines[damaged.id].split()[1] == lines["foreign"].split()[1] == "unreadable"
    assert "status.json: it is damaged" in lines[damaged.id]
    _, out, _ = _run(capsys, job, "list", "--json")
    assert {one["state"] for one in json.loads(out)["jobs"]} == {"done", "unreadable"}
    code, out, _ = _run(capsys, job, "show", job.id)
    assert code == 0 and "counted" in out


@pytest.mark.parametrize("verb", ["show", "follow", "stop", "resume"])
def test_a_damaged_job_is_told_by_its_file(damaged, capsys, verb: str) -> None:
    code, out, err = _run(capsys, damaged, verb, damaged.id)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {damaged.path / 'status.json'}: it is damaged") and "move that folder" in err


@pytest.mark.parametrize("verb", ["show", "resume"])
def test_a_job_without_settings_is_told_by_its_file(workspace, capsys, verb: str) -> None:
    job = jobs.create(workspace, "counting", CountConfig())
    (job.path / "config.yaml").unlink()
    code, out, err = _run(capsys, job, verb, job.id)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {job.path / 'config.yaml'}: it can't be read: no such file")


def test_a_resume_of_a_job_that_may_only_be_read_says_so(start, capsys, monkeypatch) -> None:
    job = _ended(start(fail="user"))
    open_ = Path.open

    def read_only(path: Path, mode: str = "r", *rest: object, **more: object) -> object:
        if path.parent == job.path and mode[0] in "wa":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return open_(path, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", read_only)
    code, out, err = _run(capsys, job, "resume", job.id)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {job.path}: can't be written: read-only file system\n  Free space or choose")
    with pytest.raises(StoreError, match="read-only"), job.held():
        pass
    assert job.status().state == "failed"


@pytest.mark.parametrize("verb", ["show", "follow", "stop", "resume"])
def test_an_unknown_job_is_told(start, capsys, verb: str) -> None:
    job = _ended(start())
    code, out, err = _run(capsys, job, verb, "zebra")
    assert (code, out) == (1, "")
    assert err.startswith("error: there is no job 'zebra'")


@pytest.mark.parametrize("verb", ["stop", "resume"])
def test_a_job_that_is_done_is_neither_stopped_nor_resumed(start, capsys, verb: str) -> None:
    job = _ended(start())
    code, _, err = _run(capsys, job, verb, job.id)
    assert code == 1
    assert "it is done" in err
