"""A comparison by people: the job that holds it, the ballots, and what the labels say."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from honed import config as settings_file
from honed.errors import ConfigError, DataError
from honed.evaluate.judge import agreement, answers, labels, page
from honed.evaluate.judge.answers import Pair, Sides
from honed.evaluate.judge.ballots import Ballots
from honed.evaluate.judge.config import JudgeConfig
from honed.evaluate.judge.labels import Label
from honed.evaluate.judge.outcome import People
from honed.evaluate.judge.pairwise import Verdict
from honed.evaluate.judge.run import settled
from honed.evaluate.judge.summary import tally
from honed.evaluate.judge.trusted import STAGE
from honed.evaluate.rates import rate
from honed.jobs import job as jobs
from honed.jobs.job import Job
from honed.store.workspace import Workspace


def opened(workspace: Workspace, config: JudgeConfig) -> Job:
    """Return the job of this comparison: the one that people began already, or a new one."""
    config = settled(workspace, config)
    for job in reversed(jobs.listing(workspace)):
        if job.listed().stage != STAGE:
            continue
        with suppress(ConfigError):  # a damaged one is none that people began with these settings
            if settings_file.read(JudgeConfig, job.path / "config.yaml") == config:
                return job
    return jobs.create(workspace, STAGE, config)


def ballots(job: Job, settings: JudgeConfig) -> Ballots:
    """Return the job's pairs and labels. Raises ``DataError`` if no pair differs."""
    pairs, _, same = _pairs(job, settings)
    if not pairs:
        raise DataError(f"all {same} pairs of answers are the same: there is nothing to judge", "Compare other models.")
    return Ballots(pairs, job.path / labels.FILE, settings.seed)


@contextmanager
def at_work(job: Job) -> Iterator[None]:
    """Let the job run in this process while people judge. Raises ``JobError`` if another one has it open."""
    with job.held():
        job.begin()
        yield


def finish(job: Job, settings: JudgeConfig) -> People:
    """Write what the labels say so far as the job's result, and return it; more may be added later."""
    found = summary(job, settings)
    page.write(job, found)
    job.set_result(found.model_dump(mode="json"))
    job.set_status(job.status().model_copy(update={"state": "done", "ended": time.time()}))
    return found


def summary(job: Job, settings: JudgeConfig) -> People:
    """Return what the labels say: each is evidence of its own, those of one prompt count as a family."""
    pairs, sides, same = _pairs(job, settings)
    every = labels.newest(labels.kept(job.path / labels.FILE))
    said = [label for label in every if label.choice != "skip"]
    found = [_verdict(label) for label in said]
    shown = tally(found, settings.segments)
    firsts = [label.choice == label.first for label in said if label.choice != "tie"]
    grouped = labels.by_pair(said)
    return People(
        sides=sides,
        pairs=len(pairs),
        same=same,
        labels=len(said),
        skipped=len(every) - len(said),
        raters=dict(Counter(label.rater for label in said)),
        overall=shown.overall,
        length_controlled=shown.length_controlled,
        groups=shown.groups,
        left=rate(firsts) if firsts else None,
        among=agreement.among([one.said for one in grouped], len({label.rater for label in said})),
        file=str(job.path / labels.FILE),
    )


def _pairs(job: Job, settings: JudgeConfig) -> tuple[list[Pair], Sides, int]:
    """The pairs whose answers differ, whose they are, and how many more are the same."""
    found = answers.compared(job.workspace, settings)
    differ = [pair for pair in found.pairs if pair.base.strip() != pair.tuned.strip()]
    return differ, found.sides, len(found.pairs) - len(differ)


def _verdict(label: Label) -> Verdict:
    assert label.choice != "skip"
    return Verdict(
        id=label.id,
        prompt=label.prompt,
        tags=label.tags,
        base=label.base,
        tuned=label.tuned,
        choice=label.choice,
        why=label.rater,
    )
