"""The selection itself, in its own process: out come the chosen rows, and as many drawn at random, as two datasets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson

from honed import config
from honed.data import dropped, segmented
from honed.data.curate.view import View
from honed.data.licences import carried
from honed.data.score.quality import lengths
from honed.data.score.scoring import Scored, Scoring
from honed.data.score.watch import Watch
from honed.data.select.choose import Choice, choose, drawn
from honed.data.select.config import SelectConfig
from honed.jobs.job import Job
from honed.jobs.worker import main
from honed.records import Conversation, Fault
from honed.store import artifacts, datasets
from honed.store.artifacts import Artifact
from honed.store.workspace import write_whole

FILE = "selection.jsonl"
"""The chosen rows in the order of choice, each with the scores that decided."""


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Select as ``config.yaml`` says; return the refs of both datasets and what their rows are like.

    Raises ``DataError`` if too few rows can be chosen, ``Stopped`` when asked to stop; what was measured stays.
    """
    settings = config.read(SelectConfig, job.path / "config.yaml")
    dataset = artifacts.resolve(job.workspace, "datasets", settings.dataset)
    scoring = Scoring(View(dataset), settings.measure, Watch(job, stopping))
    choice = choose(scoring, settings)
    made = _write(job, dataset, settings, scoring, choice)
    found: dict[str, Any] = {"dataset": made.ref, **_facts(made, scoring, choice, choice.scores)}
    if settings.by == ("random",):
        return {"from": dataset.ref, "by": list(settings.by), **found, "random": None}
    chance = drawn(scoring.rows, settings.count, settings.seed)
    update = {"name": f"{settings.name}-random", "by": ("random",)}
    beside = _write(job, dataset, settings.model_copy(update=update), scoring, chance)
    shared = len(set(choice.chosen) & set(chance.chosen))
    random = {"dataset": beside.ref, "shared": shared, **_facts(beside, scoring, chance, choice.scores)}
    return {"from": dataset.ref, "by": list(settings.by), **found, "random": random}


def _write(job: Job, dataset: Artifact, settings: SelectConfig, scoring: Scoring, choice: Choice) -> Artifact:
    """Write the dataset's chosen training rows, and its held-out rows as they are, as the next version of a name."""
    view = View(dataset)
    for place, (kind, why) in choice.left.items():
        view.drop(scoring.rows[place].number, kind, why)
    write_whole(job.path / FILE, b"".join(map(_line, _selected(scoring, choice))))
    reasons: Counter[str] = Counter()
    rules = segmented.rules(job.workspace, dataset)
    with datasets.drafting(job.workspace, settings.name, rules) as draft:
        with (job.path / dropped.FILE).open("wb") as out:

            def leave(number: int, row: Conversation) -> None:
                kind, what, _ = view.dropped[number]
                reasons[kind] += 1
                fault = Fault(file=dataset.ref, line=number + 1, field="row", kind=kind, message=what)
                out.write(dropped.line(fault, row.model_dump_json()))

            view.write(draft, leave)
        for part, count in view.sizes().items():
            if count and part != "rows":
                job.log.note(f"{count:,} {part} are taken over as they are: rows are selected")
        return draft.publish(
            config=settings.model_dump(mode="json"),
            facts={
                "rows": len(scoring.rows),
                "dropped": dict(reasons.most_common()),
                "licences": carried([dataset]),
            },
            files=[job.path / dropped.FILE, job.path / FILE],
            parents={dataset.ref: dataset.manifest.hash},
        )


def _selected(scoring: Scoring, choice: Choice) -> list[dict[str, Any]]:
    return [
        {
            "row": scoring.rows[place].id,
            **{name: round(float(one.values[place]), 6) for name, one in choice.scores.items()},
        }
        for place in choice.chosen
    ]


def _line(value: Mapping[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def _facts(made: Artifact, scoring: Scoring, choice: Choice, scores: Mapping[str, Scored]) -> dict[str, Any]:
    """What the chosen rows are like, beside all rows; the means are of those that have the score."""
    words = lengths(scoring.rows)
    chosen = np.array(choice.chosen, np.int64)
    means = {name: float(np.nanmean(one.values[chosen])) for name, one in scores.items()}
    return {
        "train": made.manifest.facts["train"],
        "heldout": made.manifest.facts["heldout"],
        "dropped": made.manifest.facts["dropped"],
        "answer_words": float(np.median(words[chosen])),
        "answer_words_of_all": float(np.median(words)),
        "means": means,
    }


if __name__ == "__main__":
    main(work)
