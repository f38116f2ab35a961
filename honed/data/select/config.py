"""What may be set when rows are selected."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from honed.config import Config
from honed.data.score.config import Measuring

Selector = Literal["length", "quality", "ifd", "diversity", "similarity", "judge", "random"]


class SelectConfig(Config):
    """Settings of ``honed data select``."""

    dataset: str = Field(description="dataset whose training rows are chosen from: name or name@vN")
    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,56}$",
        description="name of the new dataset: NAME@v1, then @v2 ...; a random one of its size is NAME-random",
    )
    by: tuple[Selector, ...] = Field(
        min_length=1, description="selectors; of several the ranks are averaged, and diversity spreads among the best"
    )
    count: int = Field(ge=1, description="how many training rows are chosen")
    pool: float = Field(
        default=3.0, ge=1, description="diversity with others: it chooses among the best pool x count rows"
    )
    ifd_below: float = Field(
        default=1.0, gt=0, description="rows with this IFD or more are never chosen by it: their prompt is of no help"
    )
    seed: int = Field(default=0, ge=0, description="decides which rows are drawn at random")
    measure: Measuring = Field(default=Measuring(), description="with what rows are measured")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if len(set(self.by)) < len(self.by):
            raise ValueError("a selector can be asked for only once")
        if "random" in self.by and len(self.by) > 1:
            raise ValueError("random stands alone: it is what all others are compared with")
        return self
