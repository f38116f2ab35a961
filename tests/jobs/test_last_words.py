from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from honed.errors import DataError
from honed.jobs import job as jobs
from honed.jobs import last_words, worker
from honed.jobs.events import Failed
from honed.jobs.job import Job
from honed.store.workspace import Workspace
from tests.jobs.counting import CountConfig

DEAF = """
import time
from honed.jobs import worker

def work(job, stopping):
    with worker.listening(job):
        job.log.note("deaf")
        time.sleep(60)

worker._LISTEN_SECONDS, worker._GRACE_SECONDS = 0.1, 0.1
worker.main(work)
"""
"""Rank 0, which waits for another as for a GPU: no request and no signal of torchrun's gets it out of that."""


def ranks(workspace: Workspace, count: int = 2) -> list[Job]:
    """A job as each of its ranks sees it."""
    path = jobs.create(workspace, "counting", CountConfig()).path
    return [Job(path, rank=rank) for rank in range(count)]


def test_why_a_rank_failed_is_waited_for_by_the_one_that_writes_the_status(workspace: Workspace) -> None:
    first, second = ranks(workspace)
    threading.Timer(0.1, last_words.leave, [second, "rows.json:3: it is empty", "Write an answer."]).start()
    assert last_words.awaited(first) == ("rank 1: rows.json:3: it is empty", "Write an answer.")


def test_a_rank_that_left_no_word_was_killed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_words, "_WAIT_SECONDS", 0.0)
    message, hint = last_words.awaited(ranks(workspace)[0])
    assert "it was killed" in message and "honed jobs resume" in hint


def test_words_of_another_launch_are_not_heard(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = ranks(workspace)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "yesterday")
    last_words.leave(second, "old", "old")
    assert last_words.found(first) == ("rank 1: old", "old")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "today")
    assert last_words.found(first) is None
    last_words.forget(first)
    assert not list(first.path.glob(".rank-*"))


def test_rank_0_tells_what_another_rank_said_when_it_loses_touch(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = ranks(workspace)

    def fails(job: Job, _: object) -> dict[str, object]:
        if job.rank:
            raise DataError("rows.json:3: answer: it is empty", "Write an answer.")
        raise RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:24829")

    assert not worker.quietly(second, fails, lambda: False)
    monkeypatch.setattr(sys, "argv", ["worker", str(first.path)])
    monkeypatch.setenv("WORLD_SIZE", "2")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit, match="1"):
        worker.main(fails)
    signal.signal(signal.SIGTERM, before)
    status = first.status()
    assert (status.state, status.message) == ("failed", "rank 1: rows.json:3: answer: it is empty")
    assert status.hint == "Write an answer."


def test_the_words_of_a_rank_that_failed_end_the_job_where_rank_0_waits_for_it_and_cannot_notice(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = ranks(workspace)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "today")
    world = {**os.environ, "RANK": "0", "WORLD_SIZE": "2"}
    with subprocess.Popen([sys.executable, "-c", DEAF, str(first.path)], env=world) as rank:
        while not first.events()[1:]:  # it has begun, and its work too
            assert rank.poll() is None
            time.sleep(0.02)
        last_words.leave(second, "out of memory", "Train anew with a lower pack_tokens.")
        assert rank.wait(timeout=20) == 1
    status, last = first.status(), first.events()[-1]
    assert (status.state, status.message) == ("failed", "rank 1: out of memory") and status.ended >= status.started
    assert isinstance(last, Failed) and last.hint == status.hint == "Train anew with a lower pack_tokens."


def test_words_that_a_rank_leaves_behind_its_work_cut_nothing_off(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = ranks(workspace)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "today")
    monkeypatch.setattr(worker, "_LISTEN_SECONDS", 0.01)
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(worker, "_GRACE_SECONDS", 0.0)
    with worker.listening(first):
        pass
    last_words.leave(second, "too late", "")
    time.sleep(0.05)
    assert not ended and first.status().state == "queued"


def test_the_events_of_a_rank_that_is_not_the_first_go_nowhere(workspace: Workspace) -> None:
    first, second = ranks(workspace)
    second.log.note("nobody hears this")
    first.log.note("heard")
    assert [getattr(event, "text", "") for event in second.events()] == ["heard"]
