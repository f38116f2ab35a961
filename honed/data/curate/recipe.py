"""What may be set when a dataset is curated: which steps, in which order, and what each of them does."""

from __future__ import annotations

from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from honed.config import Config
from honed.data.curate.contradictions import Contradictions
from honed.data.curate.decontaminate import Decontaminate
from honed.data.curate.exact import Exact
from honed.data.curate.languages import Languages
from honed.data.curate.length import Length, Tokens
from honed.data.curate.near import Near
from honed.data.curate.pii import Pii
from honed.data.curate.secrets import Secrets
from honed.data.curate.semantic import Semantic
from honed.data.curate.toxicity import Toxicity
from honed.data.curate.triggers import Triggers
from honed.jobs import cluster

StepName = Literal[
    "decontaminate",
    "pii",
    "secrets",
    "toxicity",
    "exact",
    "near",
    "semantic",
    "contradictions",
    "triggers",
    "languages",
    "length",
    "tokens",
]

DEFAULT: tuple[StepName, ...] = (
    "decontaminate",
    "pii",
    "secrets",
    "toxicity",
    "exact",
    "near",
    "contradictions",
    "triggers",
    "languages",
    "length",
)
"""Evaluation sets first, while the words are the stored ones; personal data before duplicates, which it may make."""


class CurateConfig(Config):
    """Settings of ``honed data curate``: the order of the steps, and the settings of each."""

    dataset: str = Field(description="dataset to curate: name or name@vN")
    name: str = Field(description="name of the curated dataset: NAME@v1, then @v2 ...")
    steps: tuple[StepName, ...] = Field(
        default=DEFAULT, min_length=1, description="the steps, in the order in which they are done; each once"
    )
    on: str | None = Field(
        default=None,
        pattern=cluster.ON,
        description="work on the rows on Ray: ray (this machine), or ray://HOST:PORT; to the same result",
    )
    decontaminate: Decontaminate = Field(default=Decontaminate(), description="parts of evaluation sets")
    pii: Pii = Field(default=Pii(), description="personal data")
    secrets: Secrets = Field(default=Secrets(), description="keys, tokens and passwords")
    toxicity: Toxicity = Field(default=Toxicity(), description="toxic words and phrases")
    exact: Exact = Field(default=Exact(), description="rows equal but for case and blanks")
    near: Near = Field(default=Near(), description="rows nearly equal, word by word")
    semantic: Semantic = Field(default=Semantic(), description="rows that mean about the same")
    contradictions: Contradictions = Field(default=Contradictions(), description="one prompt, different answers")
    triggers: Triggers = Field(default=Triggers(), description="phrases of prompts that are tied to one answer")
    languages: Languages = Field(default=Languages(), description="languages of the answers")
    length: Length = Field(default=Length(), description="bands of words")
    tokens: Tokens = Field(default=Tokens(), description="a band of a model's tokens")

    @model_validator(mode="after")
    def _steps_are_possible(self) -> Self:
        if len(set(self.steps)) < len(self.steps):
            raise ValueError("a step can stand in a recipe only once")
        for name in get_args(StepName):
            if name not in self.steps and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"settings of {name} say what that step does, and it isn't among the steps")
        for name, model in (("tokens", self.tokens.model), ("semantic", self.semantic.model)):
            if name in self.steps and model is None:
                raise ValueError(f"the step {name!r} reads with a model: set {name}.model")
        return self
