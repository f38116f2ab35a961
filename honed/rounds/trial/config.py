"""What may be set for a trial of a selection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from honed.config import Config


class TrialConfig(Config):
    """Settings of ``honed data trial``, with every version fixed."""

    data: str = Field(description="the selected rows: a dataset, name@vN")
    against: str = Field(description="what they are compared with, as a rule random rows of the same number: name@vN")
    base: str = Field(description="model that both are trained from")
    train: Mapping[str, Any] = Field(default={}, description="settings of honed train, the same for both")
    evaluate: Mapping[str, Any] = Field(default={}, description="settings of honed evaluate, the same for all models")
