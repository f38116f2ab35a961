"""An evaluation that takes no model: losses fall by a power law of the rows that the model saw."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from honed import config as settings_file
from honed.evaluate import outcome, scoring
from honed.evaluate.config import EvaluateConfig
from honed.evaluate.outcome import Answer, Outcome, RowLoss
from honed.jobs.job import Job
from honed.jobs.worker import main
from honed.store import artifacts, datasets
from tests.evaluate.planted import RAN

BASE = 2.5


def work(job: Job, _stopping: Callable[[], bool]) -> dict[str, Any]:
    """Give every row a loss around the law's, and an answer that is right the more rows were seen."""
    config = settings_file.read(EvaluateConfig, job.path / "config.yaml")
    data = artifacts.resolve(job.workspace, "datasets", config.data)
    model = artifacts.resolve(job.workspace, "models", config.model)
    seen = int((model.path / "rows.txt").read_text())
    level = 1 + 2 * seen**-0.5 if seen else BASE
    rows, _ = scoring.choose(datasets.rows(data, "heldout"), config.rows, config.seed)
    known = scoring.verifiers(rows)
    answers, losses = [], []
    for row in rows:
        hard = random.Random(row.id).random()
        text = row.answer if hard < seen / 100 else "hm"
        score = scoring.judge(row, text, known)
        losses.append(RowLoss(row=row.id, nats=10 * (level + hard / 2), tokens=10))
        answers.append(
            Answer(row=row.id, prompt=row.prompt, ideal=row.answer, tags=row.tags, answer=text, tokens=1, finish="stop",
                   passed=score.passed if score else None, why=score.why if score else "", floors={})
        )  # fmt: skip
    if any(answer.passed is not None for answer in answers):
        outcome.append(job.path / outcome.SAMPLES, answers)
    outcome.append(job.path / outcome.LOSSES, losses)
    values = {
        **RAN, "model": model.ref, "model_hash": model.manifest.hash, "data": data.ref, "data_hash": data.manifest.hash,
        "rows": len(rows), "unverified": 0, "n": 0, "passed": 0, "pass_rate": None, "interval": None, "floors": None,
        "loss": 1.0, "perplexity": None, "loss_rows": len(losses), "answers": len(answers), "tokens": 1,
        "max_tokens": config.max_tokens,
    }  # fmt: skip
    return Outcome.model_validate(values).model_dump(mode="json")


if __name__ == "__main__":
    main(work)
