"""Answers, labels and jobs for tests of judges."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from honed.evaluate.judge import outcome, worker
from honed.evaluate.judge.config import JudgeConfig
from honed.evaluate.judge.run import settled
from honed.jobs import job as jobs
from honed.jobs.events import Note
from honed.jobs.job import Job
from honed.jobs.worker import Stopped as Stopped
from honed.store.workspace import Workspace


def answers(path: Path, said: Mapping[str, str]) -> str:
    """Write a file of answers by prompt and return its name."""
    path.write_text("".join(json.dumps({"prompt": one, "response": text}) + "\n" for one, text in said.items()))
    return str(path)


def lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def endpoint(url: str, **more: Any) -> dict[str, Any]:
    return {"base_url": url, "model": "stand-in", "retries": 0, "concurrency": 4, **more}


def job_of(workspace: Workspace, **settings: Any) -> Job:
    return jobs.create(workspace, "judge", settled(workspace, JudgeConfig.model_validate(settings)))


def done(job: Job) -> outcome.AnyResult:
    """Do a job's work here, and leave its folder as its worker would."""
    found = worker.work(job, lambda: False)
    job.set_result(found)
    job.set_status(job.status().model_copy(update={"state": "done"}))
    return outcome.result(found)


def notes(job: Job) -> list[str]:
    return [event.text for event in job.events() if isinstance(event, Note)]
