"""A training that takes no model: what it makes remembers how many rows it saw.

While ``wait`` is there in the workspace, every size but the largest waits until it is stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from honed import config as settings_file
from honed.jobs.events import Step
from honed.jobs.job import Job
from honed.jobs.worker import Stopped, main
from honed.store import artifacts, datasets
from honed.train.config import TrainConfig

TOKENS = 100
"""Tokens of every row."""


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Publish a model that says how many rows it was trained on."""
    config = settings_file.read(TrainConfig, job.path / "config.yaml")
    job.log.write(Step(stage="train", step=1, total=1, values={"loss": 1.0}))
    rows = list(datasets.rows(artifacts.resolve(job.workspace, "datasets", config.data), "train", config.rows))
    while config.learning_rate is not None and (job.workspace.path / "wait").exists():
        if stopping():
            raise Stopped
        time.sleep(0.01)
    assert config.name
    with artifacts.draft(job.workspace, "models", config.name) as scratch:
        (scratch / "rows.txt").write_text(str(len(rows)))
        (scratch / "made.txt").write_text(job.id)
        made = artifacts.publish(scratch, "models", parents={}, config={}, facts={"job": job.id})
    epochs, batch = config.epochs or 3.0, config.batch_tokens or 4096
    tokens = round(len(rows) * TOKENS * epochs)
    ran = {"learning_rate": config.learning_rate or 1e-4, "weights": "full", "precision": "fp32", "batch_tokens": batch}
    return {
        "model": made.ref, "rows": len(rows), "left_out": 0, "steps": max(1, tokens // batch), "epochs": epochs,
        "dataset_tokens": tokens, "ran": ran,
    }  # fmt: skip


if __name__ == "__main__":
    main(work)
