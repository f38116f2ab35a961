"""What may be set for a round: one YAML file says all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from honed.config import Config
from honed.evaluate.gate import GateConfig
from honed.feedback.derive import DeriveConfig
from honed.rounds.gate import SuiteConfig


class RoundConfig(Config):
    """Settings of ``honed round run``."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,50}$",
        description="name of the rounds and of the models they make: lower-case letters, digits, '.', '_', '-'",
    )
    data: str = Field(description="dataset that the feedback is mixed with: name (newest version) or name@vN")
    suites: tuple[SuiteConfig, ...] = Field(
        min_length=1,
        description="held-out rows that decide, each with data or suite, rows, role (improve or keep) and margin",
    )
    base: str = Field(default="live", description="model that is trained on: an alias, name@vN, a folder, a hub id")
    alias: str = Field(default="live", description="alias that is compared against, and moved if the candidate passes")
    database: str | None = Field(
        default=None,
        description="the feedback's database: a URL without its password, or $NAME for the environment variable that "
        "holds the URL; default: the workspace's own",
    )
    replay: int | None = Field(
        default=None, ge=0, description="how many training rows of data are kept, chosen by hash; all when not given"
    )
    derive: DeriveConfig = Field(default=DeriveConfig(), description="how feedback becomes rows and preferences")
    sft: Mapping[str, Any] = Field(default={}, description="settings of honed train for the training on rows")
    dpo: Mapping[str, Any] = Field(
        default={}, description="settings of honed train for the training on preferences; enabled: false leaves it out"
    )
    evaluate: Mapping[str, Any] = Field(default={}, description="settings of honed evaluate for every suite")
    gate: GateConfig = Field(default=GateConfig(), description="when the candidate is promoted")
