"""Jobs of synthesis for tests, and a writer that is a real server on loopback."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from honed.config import build
from honed.data import dropped
from honed.data.synthesize import run
from honed.data.synthesize.config import SynthesizeConfig
from honed.data.synthesize.worker import work
from honed.jobs import job as jobs
from honed.jobs.job import Job
from honed.records import Conversation, Fault
from honed.store import artifacts, datasets
from honed.store.workspace import Workspace
from tests.data.curated import said
from tests.loopback import Answer, Body, Endpoint
from tests.loopback import said as last

_SUBJECTS = [
    "rivers",
    "bridges",
    "bakeries",
    "comets",
    "violins",
    "beetles",
    "glaciers",
    "markets",
    "tunnels",
    "gardens",
]
SEEDS = [said(f"Explain {subject} to a class of {n} pupils.", f"This is about {subject}: they are things.")
         for n, subject in enumerate(_SUBJECTS, 20)]  # fmt: skip


def queued(workspace: Workspace, served: Endpoint | None, method: str = "self-instruct", **update: Any) -> Job:
    values: dict[str, Any] = {"method": method, "name": "made", "rows": 4, "max_tokens": 64, **update}
    if served:
        more = values.pop("endpoint", {})
        values["endpoint"] = {"base_url": served.url, "model": "writer", "backoff_seconds": 0.01, **more}
    if method != "documents":
        values.setdefault("seeds", "set")
    config = run.settled(workspace, build(SynthesizeConfig, values, "test"))
    return jobs.create(workspace, "synthesize", config)


def done(job: Job) -> tuple[dict[str, Any], list[Conversation], list[tuple[Fault, str]]]:
    result = work(job, lambda: False)
    made = artifacts.resolve(job.workspace, "datasets", result["dataset"])
    return result, list(datasets.rows(made, "train")), list(dropped.read(made.path))


def asks_for_json(body: Body) -> bool:
    return "Answer with JSON" in last(body)


def made_up(text: str) -> str:
    """Eight made-up words that another text doesn't give."""
    found = sha256(text.encode()).hexdigest()
    return " ".join(found[start : start + 6] for start in range(0, 48, 6))


def writes(_number: int, body: Body) -> Answer:
    """Write a task that another prompt doesn't give, and a plain answer to anything else."""
    if not asks_for_json(body):
        return Answer("It is done as you asked, in one whole sentence.")
    return Answer(json.dumps({"instruction": f"Compare {made_up(last(body))}."}))
