"""A training that takes no model: what it makes answers everything with the most frequent answer of its data.

``learning_rate`` above 1 makes it wait, until it is stopped or ``go`` is there in the workspace.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from honed import config as settings_file
from honed.errors import DataError
from honed.jobs.events import Step
from honed.jobs.job import Job
from honed.jobs.worker import Stopped, main
from honed.store import artifacts, datasets
from honed.train.config import TrainConfig


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Wait if asked to, then publish the answer."""
    config = settings_file.read(TrainConfig, job.path / "config.yaml")
    job.log.write(Step(stage="train", step=1, total=2, values={"loss": 1.0}))
    while (config.learning_rate or 0) > 1 and not (job.workspace.path / "go").exists():
        if stopping():
            raise Stopped
        time.sleep(0.01)
    if (job.workspace.path / "fail").exists():
        raise DataError("none of its rows can be used", "Import more rows.")
    job.log.write(Step(stage="train", step=2, total=2, values={"loss": 0.5}))
    data = artifacts.resolve(job.workspace, "datasets", config.data)
    base = artifacts.resolve(job.workspace, "models", config.base)
    said = [row.answer for row in datasets.rows(data, "train")]
    said += [pair.chosen for pair in datasets.preferences(data)] if config.objective == "dpo" else []
    assert config.name
    with artifacts.draft(job.workspace, "models", config.name) as scratch:
        (scratch / "answer.txt").write_text(Counter(said).most_common(1)[0][0])
        (scratch / "made.txt").write_text(job.id)
        made = artifacts.publish(
            scratch,
            "models",
            parents={base.ref: base.manifest.hash, data.ref: data.manifest.hash},
            config=config.model_dump(mode="json"),
            facts={"job": job.id},
        )
    return {"model": made.ref}


if __name__ == "__main__":
    main(work)
