"""What may be set for adapters: which layers get them, how large they are, how they scale."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field, field_validator

from honed.config import Config


class LoraConfig(Config):
    """Settings of adapters (LoRA and its kin)."""

    rank: int = Field(default=16, gt=0, description="rank of the adapters")
    alpha: float = Field(default=32.0, gt=0, description="scale: the adapter's output is multiplied by alpha / rank")
    targets: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="layers that get adapters, by name (q_proj, mlp.up_proj) or pattern (layers.[01].*); "
        "default: every linear layer that can have one, but the head",
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout on the adapters' input")
    rslora: bool = Field(default=False, description="scale alpha / sqrt(rank): large ranks learn as fast as small ones")
    dora: bool = Field(default=False, description="DoRA: adapters turn the weights, a magnitude per output scales them")

    @field_validator("targets", mode="before")
    @classmethod
    def _all_is_the_default(cls, value: Any) -> Any:
        """What PEFT and LLaMA-Factory call all linear layers."""
        return None if value in ("all-linear", "all", ["all-linear"], ["all"]) else value

    @property
    def scale(self) -> float:
        """What the product of B and A is multiplied by.

        With ``rslora`` alpha / sqrt(rank), so that a larger rank learns no slower (Kalajdzievski 2023, "A Rank
        Stabilization Scaling Factor for Fine-Tuning with LoRA").
        """
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    @property
    def named(self) -> bool:
        """Whether anything about adapters was asked for, be it the default. (A job's own file has all of it.)"""
        some = 0 < len(self.model_fields_set) < len(type(self).model_fields)
        return some or self != LoraConfig()
