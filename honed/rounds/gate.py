"""The suites of a round, as the gate of ``honed.evaluate`` takes them: there is one gate."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from honed.config import Config
from honed.evaluate.finding import Role
from honed.evaluate.gate import GateConfig, Measured, compared, measured
from honed.jobs.job import Job


class SuiteConfig(Config):
    """Held-out rows on which the live model and the candidate are compared."""

    data: str = Field(description="dataset whose held-out rows are answered: name or name@vN")
    rows: int | None = Field(default=None, ge=1, description="how many of them, chosen by hash; all when not given")
    role: Role = Field(default="keep", description="improve: must be shown to rise; keep: must be shown not to fall")
    margin: float | None = Field(
        default=None, gt=0, le=1, description="the gate's margin for this keep suite; the gate's own when not given"
    )

    @model_validator(mode="after")
    def _margin_is_read(self) -> Self:
        if self.role == "improve" and self.margin is not None:
            raise ValueError("an improve suite has no margin: it must rise")
        return self


def of_jobs(name: str, suite: SuiteConfig, jobs: tuple[Job, Job], gate: GateConfig) -> Measured:
    """Return what two finished evaluations, of the live model and of the candidate, say of a suite."""
    return measured(name, suite.role, compared(*jobs, gate), gate, suite.margin)
