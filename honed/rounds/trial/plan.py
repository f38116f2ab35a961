"""From a trial's settings to those of its jobs. What ``auto`` chooses for one side holds for both.

Both are trained without the mean of the weights, which is behind the last ones where one side's run is short.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from honed.config import build
from honed.evaluate.config import EvaluateConfig
from honed.rounds.trial.config import TrialConfig
from honed.train.config import TrainConfig

_NAMED = 58
"""Characters of the dataset's name in those of the models, which have 64 at most."""

_SHARED = ("learning_rate", "weights", "precision", "batch_tokens")


def training(config: TrialConfig, data: str, shared: Mapping[str, Any]) -> TrainConfig:
    """Return the settings of one side's training; ``shared`` is what the first one's result gave, or nothing.

    Raises ``ConfigError`` that names the key that is wrong.
    """
    name = f"{data.partition('@')[0][:_NAMED]}-trial"
    asked = {"average": False, **config.train, **shared}
    return build(TrainConfig, {**asked, "base": config.base, "data": data, "name": name}, "train")


def recipe(config: TrialConfig, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the second training takes from the first one's result, so that the rows alone differ."""
    chosen = {**{key: result["ran"][key] for key in _SHARED}, "epochs": result["epochs"]}
    return {key: value for key, value in chosen.items() if config.train.get(key, "auto") == "auto"}


def evaluation(config: TrialConfig, model: str) -> EvaluateConfig:
    """Return the settings of one model's evaluation. Raises ``ConfigError`` that names the key that is wrong."""
    given = {"unverified_answers": 0, "template": config.train.get("template"), **config.evaluate}
    fixed = {"model": model, "data": config.data, "split": "heldout", "loss": True}
    return build(EvaluateConfig, {**given, **fixed}, "evaluate")
