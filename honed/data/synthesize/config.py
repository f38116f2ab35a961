"""What may be set when rows are synthesized: how, from what, by whom, how many, and what is good enough."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from honed.config import Config
from honed.models.endpoint import EndpointConfig

Method = Literal["self-instruct", "evolve", "paraphrase", "continue", "constrain", "documents", "asked"]


class SynthesizeConfig(Config):
    """Settings of ``honed data synthesize``."""

    method: Method = Field(description="how rows are made; see docs/synthesis.md")
    name: str = Field(description="name of the new dataset: NAME@v1, then @v2 ...")
    seeds: str | None = Field(default=None, description="dataset whose training rows are the seeds: name or name@vN")
    documents: tuple[str, ...] = Field(default=(), description="text and Markdown files, or folders of them")
    endpoint: EndpointConfig | None = Field(default=None, description="the server that writes: base_url, model, ...")
    local: str | None = Field(default=None, description="a model in this process that writes, instead of an endpoint")
    wanted: str | None = Field(
        default=None, description="asked: errors.json of an evaluation; rows of the kinds that it asks for are made"
    )
    against: tuple[str, ...] = Field(
        default=(),
        description="asked: more evaluation sets whose text no row may hold: datasets, folders of suites, files",
    )
    rows: int = Field(
        default=100,
        ge=1,
        le=1_000_000,
        description="rows to be made, at most; asked: as many as the document suggests, when not given",
    )
    attempts: int = Field(default=3, ge=1, le=100, description="how many times as many may be tried as rows are wanted")
    best_of: int = Field(default=4, ge=1, le=64, description="answers to try until one follows its constraints")
    shown: int = Field(default=4, ge=1, le=32, description="seed tasks that are shown for a new one (self-instruct)")
    direction: Literal["deeper", "broader", "both"] = Field(
        default="both", description="evolve: harder tasks, other tasks of the kind, or both in turn"
    )
    turns: int = Field(default=1, ge=1, le=8, description="continue: further turns of the user, each with its answer")
    families: tuple[str, ...] = Field(
        default=("ifeval",), min_length=1, description="constrain: registered families of instructions to draw from"
    )
    constraint: str = Field(
        default="", description="constrain: id of a constraint that is always one of them: punctuation:no_comma"
    )
    constraints: int = Field(default=1, ge=1, le=5, description="constrain: constraints on one answer, at most")
    passage_words: int = Field(default=250, ge=20, le=5000, description="documents: words of a passage, about")
    unanswerable: float = Field(
        default=0.2, ge=0, le=1, description="documents: share of questions that the passage does not answer"
    )
    near: float = Field(
        default=0.7, gt=0, le=1, description="an instruction as similar (Jaccard) to another one is left out"
    )
    system: str = Field(default="", description="system turn that answers are written under, and that rows begin with")
    temperature: float = Field(default=0.8, ge=0, le=2, description="how freely the writer draws")
    top_p: float = Field(default=0.95, gt=0, le=1, description="share of the likeliest tokens that it draws from")
    max_tokens: int = Field(default=1024, ge=16, description="longest answer of the writer, in tokens")
    seed: int = Field(
        default=0, ge=0, description="which seeds are shown and constraints drawn; other seed, other rows"
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if (self.endpoint is None) == (self.local is None):
            raise ValueError("name one writer: an endpoint (endpoint.base_url and endpoint.model), or local")
        if self.method == "documents" and not self.documents:
            raise ValueError("the method 'documents' asks about texts: name files or folders in documents")
        if self.method != "documents" and self.seeds is None:
            raise ValueError(f"the method {self.method!r} starts from rows: name a dataset in seeds")
        if self.method == "documents" and self.seeds is not None:
            raise ValueError("the method 'documents' reads no seeds: leave them out")
        if self.method == "asked" and self.wanted is None:
            raise ValueError("the method 'asked' makes what an evaluation asks for: name its errors.json in wanted")
        if self.method != "asked" and (self.wanted is not None or self.against):
            raise ValueError(f"the method {self.method!r} reads neither wanted nor against: the method 'asked' does")
        if self.system and self.method in ("paraphrase", "continue", "constrain"):
            raise ValueError(f"the method {self.method!r} keeps the turns of its seeds: leave out system")
        if self.constraint and (self.method != "constrain" or len(self.families) > 1):
            raise ValueError("constraint goes with the method 'constrain' and one family")
        return self
