from __future__ import annotations

from collections.abc import Callable

import pytest

from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.job import Job
from honed.store.workspace import Workspace
from tests.jobs.counting import CountConfig


@pytest.fixture
def start(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    """Start a job of the tests' own stage with the given settings."""
    monkeypatch.setattr(launch, "WORKER", "tests.jobs.{stage}")

    def _start(**settings: object) -> Job:
        job = jobs.create(workspace, "counting", CountConfig.model_validate(settings))
        launch.start(job)
        return job

    return _start
