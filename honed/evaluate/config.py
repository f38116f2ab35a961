"""What may be set for an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from honed.config import Config
from honed.evaluate.harness import names
from honed.evaluate.harness.config import HarnessConfig
from honed.evaluate.rates import SEGMENTS
from honed.models.endpoint import EndpointConfig
from honed.records import Split
from honed.segments import Rule


class EvaluateConfig(Config):
    """Settings of ``honed evaluate``. Two evaluations can be paired when model, device and batch size alone differ."""

    synonyms: ClassVar[Mapping[str, str]] = {
        "model_name": "model",
        "model_name_or_path": "model",
        "base_url": "endpoint.base_url",
        "dataset": "data",
        "task": "suite",
        "tasks": "suite",
        "benchmark": "suite",
        "num_fewshot": "harness.fewshot",
        "metric": "scorer",
        "metrics": "scorer",
        "limit": "rows",
        "max_samples": "rows",
        "num_samples": "rows",
        "max_new_tokens": "max_tokens",
        "max_gen_toks": "max_tokens",
        "chat_template": "template",
        "dtype": "precision",
        "torch_dtype": "precision",
    }

    model: str = Field(
        description="model to measure: name@vN, a hub id, a folder, a GGUF file, smollm2-135m, a served name"
    )
    endpoint: EndpointConfig | None = Field(
        default=None, description="OpenAI-compatible server (vLLM, say) that runs the model, in place of this process"
    )
    data: str | None = Field(default=None, description="dataset whose rows are answered: name or name@vN")
    suite: tuple[str, ...] | None = Field(
        default=None,
        description="suites whose rows are answered, in place of a dataset: names such as ifeval, benefits, folders, "
        "or tasks of other harnesses: lm-eval:TASK, inspect:FILE.py@TASK",
    )
    harness: HarnessConfig = Field(default=HarnessConfig(), description="how the tasks of another harness are run")
    scorer: str | None = Field(
        default=None,
        description="how rows without a check are judged: exact, f1, rouge ..., or FILE.py:FUNCTION of your own",
    )
    split: Split = Field(default="heldout", description="which rows: heldout (never trained on) or train")
    rows: int | None = Field(default=None, ge=1, description="how many rows, chosen by hash; all when not given")
    seed: int = Field(default=0, description="decides which rows are chosen when 'rows' is given")
    max_tokens: int = Field(default=256, ge=1, description="longest answer, in tokens; a suite may ask for another")
    batch_size: int = Field(
        default=96, ge=1, description="answers that are made together at most; fewer if memory holds no more"
    )
    ranks: int = Field(default=1, ge=1, description="processes that share the rows, each with the whole model")
    answer_cache: bool = Field(
        default=True,
        description="whether answers and losses of this model from before, of any job, are taken from the workspace",
    )
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

    @field_validator("suite", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value or None

    @model_validator(mode="before")
    @classmethod
    def _named_once(cls, values: Any) -> Any:
        """Let the endpoint's model be the one that is measured."""
        if isinstance(values, dict) and isinstance(served := values.get("endpoint"), dict):
            return {**values, "endpoint": {"model": values.get("model"), **served}}
        return values

    @model_validator(mode="after")
    def _served_whole(self) -> EvaluateConfig:
        if self.endpoint is None:
            return self
        if self.endpoint.model != self.model:
            raise ValueError(
                f"'endpoint' names {self.endpoint.model!r}, and 'model' {self.model!r}: they are to be one"
            )
        if self.ranks > 1:
            raise ValueError("an endpoint is asked by one process: set endpoint.concurrency in place of ranks")
        if self.template is not None:
            raise ValueError("a served model has its server's chat template: leave out 'template'")
        return self

    @model_validator(mode="after")
    def _one_source(self) -> EvaluateConfig:
        if (self.data is None) == (self.suite is None):
            raise ValueError("give either 'data' or 'suite'")
        if self.suite and self.scorer:
            raise ValueError("a scorer judges rows without a check, and every row of a suite has its own")
        return self

    @model_validator(mode="after")
    def _harness_alone(self) -> EvaluateConfig:
        if names.harness(self.suite or ()) is None:
            if self.harness != HarnessConfig():
                raise ValueError("'harness' is set, and no suite is another harness's task (lm-eval:TASK, say)")
            return self
        if self.ranks > 1:
            raise ValueError("another harness's tasks are run by one process: leave out 'ranks'")
        if self.endpoint is not None and not self.harness.chat:
            raise ValueError("a served model has its server's chat template: leave out 'harness.chat'")
        return self
