"""What may be set for an evaluation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from honed.config import Config
from honed.evaluate.rates import SEGMENTS
from honed.records import Split
from honed.segments import Rule


class EvaluateConfig(Config):
    """Settings of ``honed evaluate``. Two evaluations can be paired when model, device and batch size alone differ."""

    model: str = Field(description="model to measure: name@vN, a hub id, a folder, a GGUF file, or smollm2-135m")
    data: str | None = Field(default=None, description="dataset whose rows are answered: name or name@vN")
    suite: str | None = Field(
        default=None, description="suite whose rows are answered, in place of a dataset: ifeval, ifbench or a folder"
    )
    split: Split = Field(default="heldout", description="which rows: heldout (never trained on) or train")
    rows: int | None = Field(default=None, ge=1, description="how many rows, chosen by hash; all when not given")
    seed: int = Field(default=0, description="decides which rows are chosen when 'rows' is given")
    max_tokens: int = Field(default=256, ge=1, description="longest answer, in tokens")
    batch_size: int = Field(default=32, ge=1, description="answers that are made together")
    unverified_answers: int = Field(
        default=10, ge=0, description="how many rows without a verifier are answered, to be read by people"
    )
    template: str | None = Field(
        default=None, description="name of a shipped chat template to use; the model's own when not given"
    )
    segments: tuple[str, ...] = Field(
        default=SEGMENTS,
        description="tags by which every metric is also given; or NAME.yaml, a file of segments",
    )
    rules: tuple[Rule, ...] = Field(
        default=(), description="the segments of that file, as they were when the evaluation began"
    )
    base: str | None = Field(
        default=None, description="evaluation (a job) of the base model on the same rows, shown as a floor"
    )
    loss: bool = Field(default=True, description="whether the held-out loss is measured as well")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="where the model runs")
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32", description="precision of the model's weights; bf16 is faster and less exact"
    )

    @model_validator(mode="after")
    def _one_source(self) -> EvaluateConfig:
        if (self.data is None) == (self.suite is None):
            raise ValueError("give either 'data' or 'suite'")
        return self
