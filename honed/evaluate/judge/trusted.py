"""Whether a judge's agreement with people was measured in this workspace, and what that says of it."""

from __future__ import annotations

from honed.errors import JobError
from honed.evaluate.judge import agreement, outcome, score_agreement
from honed.evaluate.judge.agreement import Trust
from honed.evaluate.judge.config import JudgeConfig
from honed.evaluate.judge.outcome import Measured
from honed.jobs import job as jobs
from honed.jobs.job import Job
from honed.store.workspace import Workspace

STAGE = "judge"


def of(workspace: Workspace, identity: str, settings: JudgeConfig) -> Trust:
    """Return the trust of the judge ``identity`` by its newest agreement, under the thresholds of ``settings``."""
    for job in reversed(jobs.listing(workspace)):
        found = _measured(job)
        if found is None or found.judge.identity != identity:
            continue
        limits = (settings.least_kappa, settings.least_labels, job.id)
        if found.choices is not None:
            return agreement.trust(found.choices, *limits)
        if found.scores is not None:
            return score_agreement.trust(found.scores, *limits)
    return Trust(state="not measured", why="this judge's agreement with people was never measured with these settings")


def _measured(job: Job) -> Measured | None:
    status = job.listed()
    if status.stage != STAGE or status.state != "done":
        return None
    try:
        found = outcome.result(job.result())
    except JobError:  # damaged: an older one may do
        return None
    return found if isinstance(found, Measured) else None
