"""What may be set for a map of a dataset's instructions."""

from __future__ import annotations

from pydantic import Field

from honed.config import Config
from honed.data.score.config import Measuring


class MapConfig(Config):
    """Settings of ``honed data map``."""

    dataset: str = Field(description="dataset whose training instructions are mapped: name or name@vN")
    regions: int | None = Field(
        default=None, ge=2, le=60, description="how many regions; chosen from the rows if not set"
    )
    kind: str | None = Field(
        default=None, description="tag that says what kind of task a row is; task or category if rows have one"
    )
    points: int = Field(default=4000, ge=100, description="rows that are drawn, chosen by hash; all are counted")
    thin: float = Field(
        default=1 / 3, gt=0, lt=1, description="a region, kind or audience is thin below this share of an even one"
    )
    seed: int = Field(default=0, ge=0, description="decides where regions and points begin")
    measure: Measuring = Field(
        default=Measuring(), description="model: what reads the instructions, else their words; target: what is wanted"
    )
