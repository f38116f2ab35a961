from __future__ import annotations

import pytest

from honed.jobs import launch


@pytest.fixture(autouse=True)
def counting_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the launcher find the tests' own stage."""
    monkeypatch.setattr(launch, "WORKER", "tests.jobs.{stage}")
