"""The reading of rows, which may take minutes, says how far it is and can be stopped."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from honed.jobs import job as jobs
from honed.jobs import worker as edge
from honed.jobs.events import Step
from honed.models.chat import ChatFormat
from honed.store.datasets import Shard
from honed.store.workspace import Workspace
from honed.train import planner, rows, worker
from honed.train.rows import Reading
from tests.train.jobs import settings


@pytest.mark.parametrize("stage", ["train", "plan"])
@pytest.mark.parametrize(
    "how",
    [{}, {"stream": True}, {"objective": "dpo", "data": "liked"}, {"objective": "kto", "data": "rated"}],
    ids=["rows", "stream", "pairs", "answers"],
)
def test_a_stop_while_rows_are_read_ends_the_job_as_stopped_before_the_next_few(
    home: Workspace, monkeypatch: pytest.MonkeyPatch, stage: str, how: dict[str, Any]
) -> None:
    encoded: list[str] = []
    monkeypatch.setattr(ChatFormat, "encode", _counting(ChatFormat.encode, encoded))
    job = jobs.create(home, stage, settings(home, name="read", **how))
    work = {"train": worker.work, "plan": planner.work}[stage]
    assert edge._outcome(job, work, lambda: len(encoded) >= 10, job.begin()) == {"state": "stopped"}
    assert 10 <= len(encoded) <= 10 + 2 * rows._ASKED
    assert not any(isinstance(event, Step) for event in job.events())


def _counting(encode: Any, encoded: list[str]) -> Any:
    def counted(chat: ChatFormat, row: Any) -> Any:
        encoded.append(row.id)
        return encode(chat, row)

    return counted


@pytest.mark.parametrize(("seconds", "said"), [(0.01, []), (0.5, [4, 7, 10])])
def test_reading_that_takes_long_says_every_second_how_far_it_is_and_a_quick_one_nothing(
    home: Workspace, monkeypatch: pytest.MonkeyPatch, seconds: float, said: list[int]
) -> None:
    clock = count()
    monkeypatch.setattr(rows, "time", SimpleNamespace(monotonic=lambda: seconds * next(clock)))
    job = jobs.create(home, "train", settings(home))
    records: Any = range(10)
    assert list(Reading(job, lambda: False).over(records, [Shard(0, 0, 4), Shard(0, 4, 6)])) == list(range(10))
    steps = [event for event in job.events() if isinstance(event, Step)]
    assert [(step.stage, step.step, step.total) for step in steps] == [("read", done, 10) for done in said]
