"""What may be set for judging."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from honed.config import Config
from honed.evaluate.rates import SEGMENTS
from honed.models.endpoint import EndpointConfig
from honed.segments import Rule

_NAME = re.compile(r"[\w-]{1,40}")


class JudgeConfig(Config):
    """Settings of ``honed judge``: who judges, and either whose answers (``answers``) or which labels are compared."""

    answers: tuple[str, ...] = Field(
        default=(), max_length=2, description="evaluations or JSONL files of answers: two are compared, base first"
    )
    labels: str | None = Field(
        default=None, description="JSONL file of people's choices, on which the judge's agreement is measured"
    )
    people: bool = Field(default=False, description="whether people judge, on a page, in the place of a model")
    criteria: Mapping[str, str] = Field(
        default={}, description="a rubric: each criterion's name and what it asks, scored from 1 to 5"
    )
    guide: str = Field(default="", description="what makes an answer better here, told to whoever judges")
    model: str | None = Field(default=None, description="the model that judges, on this machine: as for honed evaluate")
    endpoint: EndpointConfig | None = Field(
        default=None, description="the server whose model judges, in place of a model on this machine"
    )
    rows: int | None = Field(default=None, ge=1, description="how many prompts, chosen by hash; all when not given")
    seed: int = Field(default=0, description="decides which prompts are chosen, and the sides that people see")
    max_tokens: int = Field(default=400, ge=16, description="longest reply of the judge, in tokens")
    segments: tuple[str, ...] = Field(
        default=SEGMENTS, description="tags by which everything is also given; or NAME.yaml, a file of segments"
    )
    rules: tuple[Rule, ...] = Field(
        default=(), description="the segments of that file, as they were when the judging began"
    )
    least_kappa: float = Field(
        default=0.4,
        gt=0,
        lt=1,
        description="a judge is trusted if Cohen's kappa with people is shown to be at least this",
    )
    least_labels: int = Field(default=30, ge=2, description="labelled pairs without which no judge is trusted")
    batch_size: int = Field(default=16, ge=1, description="replies of a model on this machine that are made together")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="where that model runs")
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="precision of that model's weights")

    @model_validator(mode="after")
    def _one_question(self) -> JudgeConfig:
        if (self.labels is None) == (not self.answers):
            raise ValueError("give either answers to judge, or labels to measure a judge's agreement with")
        if self.people:
            if self.labels or self.criteria or len(self.answers) != 2:
                raise ValueError("people compare two evaluations: give two answers, no labels and no criteria")
            return self
        if (self.model is None) == (self.endpoint is None):
            raise ValueError("give either 'model' (on this machine) or 'endpoint' (a server)")
        if self.answers and len(self.answers) < 2 and not self.criteria:
            raise ValueError("one evaluation is scored by a rubric; to compare, give two")
        for name, text in self.criteria.items():
            if not _NAME.fullmatch(name) or not text.strip():
                raise ValueError(
                    f"criterion {name!r}: a name is one word of letters, digits, _ or -, and says what it asks"
                )
        return self
