"""An evaluation that takes no model: every answer is the one that the training beside this file wrote down."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from honed import config as settings_file
from honed.evaluate import outcome, scoring
from honed.evaluate.config import EvaluateConfig
from honed.evaluate.outcome import Answer, Outcome
from honed.evaluate.suites import chosen
from honed.jobs.job import Job
from honed.jobs.worker import main
from honed.records import Conversation
from honed.store import artifacts, datasets
from tests.evaluate.planted import RAN


def work(job: Job, _stopping: Callable[[], bool]) -> dict[str, Any]:
    """Judge the one answer on every row."""
    config = settings_file.read(EvaluateConfig, job.path / "config.yaml")
    name, hash_, found = _asked(job, config)
    model = artifacts.resolve(job.workspace, "models", config.model)
    text = (model.path / "answer.txt").read_text()
    rows, _ = scoring.choose(found, config.rows, config.seed)
    known = scoring.verifiers(rows)
    floors, verdicts = scoring.floors(rows, known)
    scores = {row.id: scoring.judge(row, text, known) for row in rows}
    answers = [
        Answer(
            row=row.id, prompt=row.prompt, ideal=row.answer, tags=row.tags, answer=text, tokens=3, finish="stop",
            passed=score.passed if (score := scores[row.id]) else None, why=score.why if score else "",
            floors=verdicts.get(row.id, {}),
        )
        for row in rows
    ]  # fmt: skip
    outcome.append(job.path / outcome.SAMPLES, answers)
    passed = [answer.passed for answer in answers if answer.passed is not None]
    whole = outcome.rate(passed) if passed else None
    values = {
        **RAN, "model": model.ref, "model_hash": model.manifest.hash, "data": name, "data_hash": hash_,
        "rows": len(rows), "unverified": len(rows) - len(passed), "n": len(passed), "passed": sum(passed),
        "pass_rate": whole.rate if whole else None, "interval": whole.interval if whole else None, "floors": floors,
        "loss": None, "perplexity": None, "loss_rows": 0, "answers": len(answers), "tokens": 3 * len(answers),
        "max_tokens": config.max_tokens,
    }  # fmt: skip
    return Outcome.model_validate(values).model_dump(mode="json")


def _asked(job: Job, config: EvaluateConfig) -> tuple[str, str, Iterable[Conversation]]:
    """The name, the hash and the rows of what is answered."""
    if config.suite:
        suite = chosen.read(config.suite)
        return f"suite {suite.manifest.name}", suite.hash, [row.conversation for row in suite.rows]
    data = artifacts.resolve(job.workspace, "datasets", str(config.data))
    return data.ref, data.manifest.hash, datasets.rows(data, "heldout")


if __name__ == "__main__":
    main(work)
