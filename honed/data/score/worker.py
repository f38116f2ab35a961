"""Scoring itself, in its own process: a score of each training row, a summary of each score, examples of both ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson
from scipy.stats import rankdata

from honed import config
from honed.data.curate.row import Row
from honed.data.curate.view import View
from honed.data.score.config import ScoreConfig
from honed.data.score.quality import Floats
from honed.data.score.scoring import Scored, Scoring
from honed.data.score.watch import Watch
from honed.jobs.job import Job
from honed.jobs.worker import main
from honed.store import artifacts
from honed.store.workspace import write_whole

FILE = "scores.jsonl"
_EXAMPLES = 3
_SHOWN = 160


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Score as ``config.yaml`` says; write ``scores.jsonl`` and return a summary of each score.

    Raises ``DataError`` if there is no training row, ``Stopped`` when asked to stop; what was measured stays.
    """
    settings = config.read(ScoreConfig, job.path / "config.yaml")
    dataset = artifacts.resolve(job.workspace, "datasets", settings.dataset)
    scoring = Scoring(View(dataset), settings.measure, Watch(job, stopping))
    found: dict[str, Scored] = {name: scoring.score(name) for name in settings.by}
    length = scoring.length().values
    _write(job, scoring, found)
    scores = {name: _summary(one, scoring.rows, length) for name, one in found.items()}
    return {"dataset": dataset.ref, "rows": len(scoring.rows), "scores": scores, "file": str(job.path / FILE)}


def _write(job: Job, scoring: Scoring, found: Mapping[str, Scored]) -> None:
    lines = []
    for place, row in enumerate(scoring.rows):
        line: dict[str, Any] = {"row": row.id}
        for name, one in found.items():
            value = one.values[place]
            line[name] = None if np.isnan(value) else round(float(value), 6)
            if place in one.missing:
                line[f"no {name}"] = one.missing[place][1]
        lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    write_whole(job.path / FILE, b"".join(lines))


def _summary(scored: Scored, rows: list[Row], length: Floats) -> dict[str, Any]:
    there = np.flatnonzero(~np.isnan(scored.values))
    values = scored.values[there]
    order = there[np.argsort(-values, kind="stable")]
    at = dict(zip(("least", "q25", "median", "q75", "most"), np.quantile(values, [0, 0.25, 0.5, 0.75, 1]), strict=True))
    return (
        {
            "rows": len(there),
            "missing": dict(Counter(kind for kind, _ in scored.missing.values()).most_common()),
            **{name: float(value) for name, value in at.items()},
            "with_length": _rank_correlation(values, length[there]),
            "highest": [_shown(rows[place], scored.values[place]) for place in order[:_EXAMPLES].tolist()],
            "lowest": [_shown(rows[place], scored.values[place]) for place in order[::-1][:_EXAMPLES].tolist()],
        }
        if len(there)
        else {"rows": 0, "missing": dict(Counter(kind for kind, _ in scored.missing.values()))}
    )


def _rank_correlation(left: Floats, right: Floats) -> float | None:
    """Return Spearman's correlation, None where one of them is constant."""
    one, other = rankdata(left), rankdata(right)
    spread = one.std() * other.std()
    return float(((one - one.mean()) * (other - other.mean())).mean() / spread) if spread else None


def _shown(row: Row, value: float) -> dict[str, Any]:
    prompt, answer = " ".join(row.prompts()[-1:]), row.answer
    return {"row": row.id, "score": float(value), "prompt": prompt[:_SHOWN], "answer": answer[:_SHOWN]}


if __name__ == "__main__":
    main(work)
