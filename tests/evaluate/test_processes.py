"""An evaluation of two processes as torchrun starts them: the answers of one, killed and resumed with nothing lost."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from honed.builtin.load import load
from honed.config import build
from honed.evaluate import outcome
from honed.evaluate.config import EvaluateConfig
from honed.evaluate.outcome import Answer, Outcome, RowLoss
from honed.evaluate.run import run
from honed.jobs import launch
from honed.jobs.events import Step
from honed.jobs.job import Job
from honed.store import datasets
from honed.store.workspace import Workspace
from tests.tiny import tiny_folder

ROWS = [row for row in load("heldout") if len(json.dumps(row.model_dump()["messages"])) < 420][:40]


@pytest.fixture
def start(workspace: Workspace, tmp_path: Path) -> Callable[..., Job]:
    folder = tiny_folder(tmp_path / "tiny")
    made = datasets.write(workspace, "rows", ((row, "heldout") for row in ROWS), config={}, facts={})
    given = {"model": str(folder), "data": made.ref, "max_tokens": 40, "batch_size": 1, "answer_cache": False}

    def started(**settings: Any) -> Job:
        return run(workspace, build(EvaluateConfig, {**given, **settings}, "test"))

    return started


def finished(job: Job) -> Outcome:
    return outcome.result({key: value for key, value in launch.wait(job).items() if key != "seconds"})


def answers(job: Job) -> dict[str, str]:
    return {row: one.answer for row, one in outcome.read(Answer, job.path / outcome.SAMPLES).items()}


def test_kill_9_of_one_of_two_processes_loses_no_answer_and_a_resume_gives_those_of_one_process(
    start: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = start()
    with monkeypatch.context() as cold:
        cold.setenv("HONED_TESTS_COLD", "1")  # tests/warm: the processes are torchrun's own
        two = start(ranks=2)
    for event in launch.follow(two):
        if isinstance(event, Step) and event.stage == "answers" and event.step >= 3:
            break
    launcher = psutil.Process(two.status().pid).parent()
    assert launcher is not None
    ranks = {one.environ()["RANK"]: one for one in launcher.children()}
    assert set(ranks) == {"0", "1"}
    ranks["1"].send_signal(signal.SIGKILL)
    list(launch.follow(two))
    assert two.status().state == "failed" and "honed jobs resume" in two.status().hint
    assert not psutil.wait_procs([launcher, *ranks.values()], timeout=60)[1]
    kept = (two.path / outcome.SAMPLES).read_bytes()
    assert 3 <= len(outcome.read(Answer, two.path / outcome.SAMPLES)) < len(ROWS)
    launch.resume(two)
    expected, found = finished(alone), finished(two)
    assert (two.path / outcome.SAMPLES).read_bytes().startswith(kept)
    assert answers(two) == answers(alone) and len(answers(two)) == len(ROWS)
    assert (found.answers, found.passed, found.tokens) == (expected.answers, expected.passed, expected.tokens)
    assert found.resumed_answers >= 3 and (found.ranks, expected.ranks) == (2, 1)
    assert len(outcome.read(RowLoss, two.path / outcome.LOSSES)) == len(ROWS)
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)
