"""Made-up evaluations of known strength over rows of the embedded set: ideal answers, spoiled at a chosen rate."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from honed.evaluate import families, outcome, scoring
from honed.evaluate.compare import Evaluation
from honed.evaluate.outcome import Answer, Outcome, RowLoss
from honed.jobs import job as jobs
from honed.jobs.job import Job
from honed.records import Conversation
from honed.store.workspace import Workspace

SPOILS: tuple[Callable[[str], str], ...] = (
    lambda ideal: "",
    lambda ideal: f"Sure! Here is what you asked for:\n\n{ideal}\n\nIs there anything else I can help you with today?",
    lambda ideal: "I'm sorry, but I can't help with that.",
    lambda ideal: ideal[: len(ideal) // 2],
)

RAN: Mapping[str, Any] = {
    "template_hash": "0123456789abcdef",
    "data": "company@v1",
    "data_hash": "feedfacecafe" * 5,
    "split": "heldout",
    "repeated": 0,
    "segments": {},
    "left_out": (),
    "max_tokens": 256,
    "resumed_answers": 0,
    "cut": 0,
    "tokens_per_second": 287.0,
    "machine": "an invented processor, 2 cores, 8 GB",
    "device": "cpu",
    "precision": "fp32",
    "batch_size": 32,
    "peak_rss_bytes": 1_234_000_000,
    "stages": {"load": 1.5, "answers": 63.0, "loss": 9.0},
    "seconds": 73.5,
}
"""What every made-up evaluation says of how it ran."""


def evaluation(
    rows: Sequence[Conversation], skill: Mapping[str, float] | float, *, name: str, seed: int = 0, **changed: Any
) -> Evaluation:
    """An evaluation whose model gives the ideal answer at rate ``skill`` (of each task), a spoiled one otherwise."""
    rng = random.Random(seed)
    known = scoring.verifiers(rows)
    floors, verdicts = scoring.floors(rows, known)
    answers, losses = {}, {}
    for row in rows:
        share = skill if isinstance(skill, float) else skill[row.tags["task"]]
        text = row.answer if rng.random() < share else rng.choice(SPOILS)(row.answer)
        score = scoring.judge(row, text, known)
        answers[row.id] = Answer(
            row=row.id,
            prompt=row.prompt,
            ideal=row.answer,
            tags=row.tags,
            answer=text,
            tokens=len(text) // 4,
            finish="stop",
            passed=score.passed if score else None,
            why=score.why if score else "",
            floors=verdicts.get(row.id, {}),
            value=score.value if score else None,
            check=row.check,
        )
        tokens = 1 + len(row.answer) // 4
        nats = tokens * (2.6 - share + 0.2 * rng.random())
        family = families.family(row.tags, row.prompt)
        losses[row.id] = RowLoss(row=row.id, nats=nats, tokens=tokens, tags=row.tags, family=family)
    passed = [answer.passed for answer in answers.values() if answer.passed is not None]
    whole = outcome.rate(passed) if passed else None
    loss = sum(line.nats for line in losses.values()) / sum(line.tokens for line in losses.values())
    values = {
        **RAN,
        "model": name,
        "model_hash": name.encode().hex() * 8,
        "rows": len(rows),
        "unverified": len(rows) - len(passed),
        "n": len(passed),
        "passed": sum(passed),
        "pass_rate": whole.rate if whole else None,
        "interval": whole.interval if whole else None,
        "floors": floors,
        "loss": loss,
        "perplexity": 2.718281828**loss,
        "loss_rows": len(rows),
        "answers": len(answers),
        "tokens": sum(answer.tokens for answer in answers.values()),
    }
    return Evaluation(f"evaluate-{name}", Outcome.model_validate({**values, **changed}), answers, losses)


def repeated(one: Evaluation, times: int) -> Evaluation:
    """The same, of rows that are each there so many times, as one family."""
    answers, losses = {}, {}
    for row, at in product([*{**one.answers, **one.losses}], range(times)):
        tags, name = {"family": row}, f"{row}-{at}"
        if answer := one.answers.get(row):
            answers[name] = answer.model_copy(update={"row": name, "tags": {**answer.tags, **tags}})
        family = families.family(tags, ())
        losses[name] = one.losses[row].model_copy(update={"row": name, "tags": tags, "family": family})
    return Evaluation(one.job, one.outcome, answers, losses)


def as_job(workspace: Workspace, made: Evaluation) -> Job:
    """Write a made-up evaluation as the finished job that a worker would have left."""
    from honed.evaluate.config import EvaluateConfig

    job = jobs.create(workspace, "evaluate", EvaluateConfig(model=made.outcome.model, data=made.outcome.data))
    outcome.append(job.path / outcome.SAMPLES, made.answers.values())
    outcome.append(job.path / outcome.LOSSES, made.losses.values())
    job.set_result(made.outcome.model_dump(mode="json"))
    job.set_status(job.status().model_copy(update={"state": "done"}))
    return Job(Path(job.path))
