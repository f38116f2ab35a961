"""What may be set when rows are scored."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from honed.config import Config
from honed.models.endpoint import EndpointConfig

ScoreName = Literal["length", "quality", "ifd", "diversity", "similarity", "judge"]


class Measuring(Config):
    """With what rows are measured: the base model, how it reads, and the set that others are compared to."""

    model: str | None = Field(default=None, description="base model that reads the rows: ifd, diversity, similarity")
    target: str | None = Field(
        default=None, description="dataset that similarity is to: name or name@vN; its held-out rows, if it has any"
    )
    target_rows: int = Field(default=500, ge=1, description="rows of the target that are read, chosen by hash")
    judge: EndpointConfig | None = Field(default=None, description="endpoint of the model that judges: judge")
    tokens: int = Field(default=256, ge=8, description="tokens of a row that pooled states are of, from its beginning")
    batch_size: int = Field(
        default=32,
        ge=1,
        description="rows that go through the model together, or more of rows shorter than `tokens`; decides memory",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="where the model runs")
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32", description="precision of the model's weights; bf16 is faster on a GPU and less exact"
    )


class ScoreConfig(Config):
    """Settings of ``honed data score``."""

    dataset: str = Field(description="dataset whose training rows are scored: name or name@vN")
    by: tuple[ScoreName, ...] = Field(
        default=("length", "quality"), min_length=1, description="the scores, each once; see docs/data.md"
    )
    measure: Measuring = Field(default=Measuring(), description="with what rows are measured")

    @model_validator(mode="after")
    def _once(self) -> Self:
        if len(set(self.by)) < len(self.by):
            raise ValueError("a score can be asked for only once")
        return self
