"""What may be set when datasets are mixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from honed.config import Config
from honed.segments import TAG, Rule

DATASET = "dataset"
NONE = "(none)"
"""The group of rows that don't have a level's tag, or are of no segment."""


class Level(Config):
    """How rows are dealt among the values of one tag."""

    by: str = Field(description="dataset, segment, or a tag such as task, source, audience")
    weights: Mapping[str, float] = Field(
        default={},
        description="shares of values: {qa: 2}; 1 for those not named, 0 leaves out; by size if none is given",
    )
    rows: Mapping[str, int] = Field(
        default={},
        description="exact numbers of rows of values, in place of weights; inside of each group of the level before",
    )
    temperature: float = Field(
        default=1.0,
        gt=0,
        description="above 1 the shares become more equal: each is a weight to the power of 1/temperature",
    )

    @field_validator("weights")
    @classmethod
    def _positive(cls, weights: Mapping[str, float]) -> Mapping[str, float]:
        for name, weight in weights.items():
            if not 0 <= weight < float("inf"):
                raise ValueError(f"the weight of {name} is {weight}, and weights are 0 or more")
        return weights

    @field_validator("rows")
    @classmethod
    def _counts(cls, rows: Mapping[str, int]) -> Mapping[str, int]:
        for name, count in rows.items():
            if count < 0:
                raise ValueError(f"{name} is to give {count} rows, and a number of rows is 0 or more")
        return rows

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        both = sorted(self.weights.keys() & self.rows.keys())
        if both:
            raise ValueError(f"{both[0]} has a weight and a number of rows: give one of them")
        return self


class Anchor(Config):
    """Rows of another dataset, replayed so that a model keeps what it could."""

    dataset: str = Field(description="dataset to replay from: name or name@vN")
    share: float = Field(gt=0, lt=1, description="share of the mix's training rows")


class MixConfig(Config):
    """Settings of ``honed data mix``: which datasets, how rows are dealt, what limits it."""

    name: str = Field(description="name of the mix: NAME@v1, then @v2 ...")
    datasets: tuple[str, ...] = Field(
        min_length=1, description="datasets to mix: name or name@vN; of equal rows the first one's is kept"
    )
    levels: tuple[Level, ...] = Field(
        default=(Level(by=DATASET),),
        min_length=1,
        description="how rows are dealt, outermost first: by dataset, then inside of each by task, and so on",
    )
    rows: int | None = Field(
        default=None,
        ge=1,
        description="training rows in all, the anchor's included; the most that keeps all shares if not given",
    )
    segments: str | None = Field(default=None, description="file of segments, for a level by segment")
    rules: tuple[Rule, ...] = Field(default=(), description="the segments themselves, in place of a file")
    most: Mapping[str, int] = Field(
        default={}, description="most rows of any one value of a tag: {author: 50, source: 1000}"
    )
    anchor: Anchor | None = Field(default=None, description="rows of another dataset, against forgetting")
    seed: int = Field(default=0, ge=0, description="decides with a row's text whether it is chosen")
    use: Literal["commercial", "research"] | None = Field(
        default=None, description="what the mix is for; licences that don't allow it are a warning"
    )

    @field_validator("most")
    @classmethod
    def _limits(cls, most: Mapping[str, int]) -> Mapping[str, int]:
        for tag, count in most.items():
            if count < 1:
                raise ValueError(f"at most {count} rows of each {tag}: 1 or more are needed")
        return most

    @model_validator(mode="after")
    def _together(self) -> Self:
        for what, names in (("dataset", self.datasets), ("level by", [level.by for level in self.levels])):
            twice = next((name for name in names if list(names).count(name) > 1), None)
            if twice:
                raise ValueError(f"the {what} {twice} is named twice")
        if any(level.by == TAG for level in self.levels) and not (self.rules or self.segments):
            raise ValueError("a level by segment needs 'segments', the file that says which there are")
        if self.segments and self.rules:
            raise ValueError("give 'segments' or 'rules', not both")
        return self
