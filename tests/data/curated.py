"""Datasets and recipes for the tests of curation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from honed.config import build
from honed.data.curate.recipe import CurateConfig
from honed.data.curate.worker import work
from honed.jobs import job as jobs
from honed.jobs.job import Job
from honed.records import Check, Conversation, Message, Split
from honed.store import artifacts, datasets
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace


def said(prompt: str, answer: str, system: str = "", check: Check | None = None) -> Conversation:
    turns = [Message(role="system", content=system)] if system else []
    turns += [Message(role="user", content=prompt), Message(role="assistant", content=answer)]
    return Conversation(messages=tuple(turns), check=check, tags={"source": "test"})


def stored(
    workspace: Workspace, rows: Iterable[Conversation], heldout: Iterable[Conversation] = (), name: str = "set"
) -> Artifact:
    split: list[tuple[Conversation, Split]] = [(row, "train") for row in rows]
    split += [(row, "heldout") for row in heldout]
    return datasets.write(workspace, name, split, config={}, facts={"dropped": {}})


def queued(workspace: Workspace, *steps: str, **settings: Any) -> Job:
    values = {"dataset": "set", "name": "clean", **settings}
    if steps:
        values["steps"] = list(steps)
    return jobs.create(workspace, "curate", build(CurateConfig, values, "test"))


def curated(workspace: Workspace, *steps: str, **settings: Any) -> tuple[dict[str, Any], list[Conversation]]:
    """The result, and the training rows that are left."""
    result = work(queued(workspace, *steps, **settings), lambda: False)
    dataset = artifacts.resolve(workspace, "datasets", result["dataset"])
    return result, list(datasets.rows(dataset, "train"))
