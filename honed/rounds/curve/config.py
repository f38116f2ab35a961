"""What may be set for a learning curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from honed.config import Config


class CurveConfig(Config):
    """Settings of ``honed train --curve``, with every version fixed."""

    data: str = Field(description="dataset, name@vN")
    base: str = Field(description="model that every size starts from")
    name: str = Field(description="what the models are called: <name>-16, <name>-64 and so on")
    sizes: tuple[int, ...] = Field(min_length=2, description="numbers of training rows, rising")
    train: Mapping[str, Any] = Field(default={}, description="settings of honed train, the same for every size")
    evaluate: Mapping[str, Any] = Field(default={}, description="settings of honed evaluate, the same for every model")
    seed: int = Field(default=0, ge=0, description="decides which rows come first")
    reach: tuple[float, ...] = Field(
        default=(), description="held-out losses, in nats per token, of which it is said how many rows reach them"
    )
    least_steps: int = Field(
        default=24, gt=0, description="a size with fewer optimizer steps gets smaller batches, then more epochs"
    )

    @property
    def objective(self) -> str:
        """What every size learns."""
        return str(self.train.get("objective", "sft"))
