"""Shorthands for training jobs in tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from honed.config import build
from honed.jobs import launch
from honed.jobs.events import Step
from honed.jobs.job import Job
from honed.store.workspace import Workspace
from honed.train.config import TrainConfig
from honed.train.rows import Reading
from honed.train.run import run

UNHEARD = Reading(Job(Path(), rank=1), lambda: False)
"""Reading that nobody watches or stops."""


def settings(home: Workspace, **values: Any) -> TrainConfig:
    given = {
        "base": str(home.path.parent / "tiny"), "data": "numbers", "batch_tokens": 100, "pack_tokens": 60, "epochs": 3,
        "learning_rate": 1e-3, "precision": "fp32", "weights": "full", "checkpoint_every": 7, "eval_rows": 4, **values,
    }  # fmt: skip
    return build(TrainConfig, given, "test")


def start(home: Workspace, **values: Any) -> Job:
    return run(home, settings(home, **values))


def finish(job: Job) -> dict[str, Any]:
    for _ in launch.follow(job):
        pass
    assert job.status().state == "done", (job.path / "log.txt").read_text()
    return job.result()


def weights_of(home: Workspace, ref: str) -> dict[str, Any]:
    name, _, version = ref.partition("@")
    return load_file(home.models / name / version / "model.safetensors")


def losses(job: Job) -> dict[int, float]:
    return {e.step: e.values["loss"] for e in job.events() if isinstance(e, Step) and e.stage == "train"}
