"""What may be set for the tasks of another harness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from honed.config import Config


class HarnessConfig(Config):
    """Settings of ``lm-eval:`` and ``inspect:`` suites."""

    chat: bool = Field(
        default=True,
        description="whether prompts go through the chat template; if not, lm-eval's texts are continued as they are",
    )
    fewshot: int | None = Field(
        default=None, ge=0, description="solved examples before each question of lm-eval; the task's own when not given"
    )
    metric: str | None = Field(
        default=None,
        description="the harness's metric that says which rows pass (acc_norm, say); its first when not given",
    )
    floors: bool | None = Field(
        default=None,
        description="whether an inspect task is run again with constant answers and the echoed prompt, nine times at "
        "most; when not given, unless another model grades: each run would ask it anew",
    )
    args: Mapping[str, Any] = Field(default={}, description="arguments of an inspect task, by name")
