"""The suites of a round, as the gate of ``honed.evaluate`` takes them: there is one gate."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from honed.config import Config
from honed.evaluate.finding import Role
from honed.evaluate.gate import GateConfig, Measured, compared, measured
from honed.jobs.job import Job


class SuiteConfig(Config):
    """Held-out rows, or a suite, on which the live model and the candidate are compared."""

    data: str | None = Field(default=None, description="dataset whose held-out rows are answered: name or name@vN")
    suite: str | None = Field(
        default=None, description="suite in place of a dataset: safety, knowledge, benefits (ten of them), a folder ..."
    )
    rows: int | None = Field(default=None, ge=1, description="how many of them, chosen by hash; all when not given")
    role: Role = Field(default="keep", description="improve: must be shown to rise; keep: must be shown not to fall")
    margin: float | None = Field(
        default=None, gt=0, le=1, description="the gate's margin for this keep suite; the gate's own when not given"
    )

    @property
    def name(self) -> str:
        """What people call it: its dataset's name without the version, or its suite's."""
        return self.data.partition("@")[0] if self.data else Path(self.suite or "").name

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.data is None) == (self.suite is None):
            raise ValueError("give either 'data' or 'suite'")
        return self

    @model_validator(mode="after")
    def _margin_is_read(self) -> Self:
        if self.role == "improve" and self.margin is not None:
            raise ValueError("an improve suite has no margin: it must rise")
        return self


def of_jobs(suite: SuiteConfig, jobs: tuple[Job, Job], gate: GateConfig) -> Measured:
    """Return what two finished evaluations, of the live model and of the candidate, say of a suite."""
    return measured(suite.name, suite.role, compared(*jobs, gate), gate, suite.margin)
