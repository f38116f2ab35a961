"""The objectives as control code knows them, without torch: what each learns from, and what may be set for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from honed.config import Config

Setting = float | str


class PreferenceConfig(Config):
    """Settings of the objectives that learn from preferences and ratings; left open, those of the objective's paper."""

    beta: float | None = Field(
        default=None,
        gt=0,
        description="dpo, kto: how strongly the model is held to the base's answers (0.1); orpo: weight of the odds "
        "ratio beside the chosen answer's likelihood (0.1); simpo: scale of the likelihoods (2)",
    )
    dpo_loss: Literal["sigmoid", "ipo"] | None = Field(
        default=None,
        description="dpo: sigmoid lets margins grow for ever, ipo draws them to 1 / (2 beta) per token (sigmoid)",
    )
    gamma: float | None = Field(default=None, ge=0, description="simpo: the margin that is asked for (1)")
    desirable: float | None = Field(
        default=None, gt=0, description="kto: weight of the answers that were found good (1)"
    )
    undesirable: float | None = Field(
        default=None, gt=0, description="kto: weight of the answers that were found bad (1)"
    )


@dataclass(frozen=True)
class Kind:
    """An objective: the part of a dataset that it learns from, and the settings that it reads, with their defaults.

    ``answers`` are the ratings, and both sides of the preferences. ``refers`` says that examples need the base model's
    log-likelihoods. ``likelihood`` says that good answers' likelihood is part of the loss, as in SFT: else the held-out
    loss may rise while the objective is reached.
    """

    learns: Literal["rows", "preferences", "answers"]
    defaults: Mapping[str, Setting] = field(default_factory=dict)
    refers: bool = False
    likelihood: bool = False

    def settings(self, given: PreferenceConfig) -> dict[str, Setting]:
        """Return what the objective goes by: what was given, and the defaults of the rest."""
        return {**self.defaults, **given.model_dump(exclude_none=True)}

    def unread(self, given: PreferenceConfig) -> list[str]:
        """Return the settings that were given and that this objective doesn't read."""
        return sorted(given.model_dump(exclude_none=True).keys() - self.defaults.keys())


def of_each(count: int, ratings: int, preferences: int) -> tuple[int, int]:
    """Return how many ratings and preferences are taken of so many, for ``count`` of both: by their shares."""
    rated = min(ratings, round(count * ratings / max(1, ratings + preferences)))
    return rated, min(preferences, count - rated)


KINDS: Mapping[str, Kind] = {
    "sft": Kind("rows", likelihood=True),
    "dpo": Kind("preferences", {"beta": 0.1, "dpo_loss": "sigmoid"}, refers=True),
    "kto": Kind("answers", {"beta": 0.1, "desirable": 1.0, "undesirable": 1.0}, refers=True),
    "orpo": Kind("preferences", {"beta": 0.1}, likelihood=True),
    "simpo": Kind("preferences", {"beta": 2.0, "gamma": 1.0}),
}
