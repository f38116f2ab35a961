"""The trials that a workspace keeps: what they showed of a selection."""

from __future__ import annotations

from contextlib import suppress

from honed.errors import JobError
from honed.jobs import job as jobs
from honed.rounds.trial.outcome import TrialOutcome
from honed.store.workspace import Workspace


def of(workspace: Workspace, ref: str) -> list[TrialOutcome]:
    """Return the newest outcome of each trial of the dataset ``ref``: one for what it was against and which base."""
    found: dict[tuple[str, str], TrialOutcome] = {}
    for job in jobs.listing(workspace):
        status = job.listed()
        if (status.stage, status.state) != ("trial", "done"):
            continue
        with suppress(JobError):  # a damaged one shows nothing
            outcome = TrialOutcome.model_validate(job.result())
            if outcome.data == ref:
                found[outcome.against, outcome.base] = outcome
    return list(found.values())
