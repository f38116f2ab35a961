"""Rows for a curve: two tasks, sorted by task as files often are, and held-out ones."""

from __future__ import annotations

import importlib

import pytest

from honed.jobs import launch, worker
from honed.jobs.job import Job
from honed.records import Check, Conversation, Message, Split
from honed.store import artifacts, datasets
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace

QUEUES = ["billing", "returns"]


def question(number: int, queue: str) -> Conversation:
    """A question that says which queue it belongs to."""
    turns = (Message(role="user", content=f"{queue} {number}: queue?"), Message(role="assistant", content=queue))
    check = Check(verifier="route", params={"queue": queue, "queues": QUEUES})
    return Conversation(messages=turns, tags={"task": queue}, check=check)


def write_rows(workspace: Workspace, train: int = 60, heldout: int = 40, checks: bool = True) -> Artifact:
    """A third of the training rows are of the second task, and stand at the end."""
    rows: list[tuple[Conversation, Split]] = [
        (question(at, QUEUES[at >= train - train // 3]), "train") for at in range(train)
    ]
    rows += [(question(1000 + at, QUEUES[at % 2]), "heldout") for at in range(heldout)]
    if not checks:
        rows = [(row.model_copy(update={"check": None}), split) for row, split in rows]
    return datasets.write(workspace, "bills", rows, config={}, facts={})


def write_base(workspace: Workspace) -> Artifact:
    """A base model for the quick stages: it has seen no row."""
    with artifacts.draft(workspace, "models", "first") as scratch:
        (scratch / "rows.txt").write_text("0")
        return artifacts.publish(scratch, "models", parents={}, config={}, facts={})


def run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let jobs run in this process, one after the other, instead of in one of their own."""

    def start(job: Job) -> None:
        status = job.status()
        name = launch._OTHERS.get(status.stage) or launch.WORKER.format(stage=status.stage)
        work = importlib.import_module(name).work
        with job.held():
            running = job.begin()
            update = worker._outcome(job, work, lambda: False, running)
            job.set_status(running.model_copy(update={**update, "ended": 1.0}))

    monkeypatch.setattr(launch, "start", start)
