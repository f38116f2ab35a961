"""From a curve's settings to those of its jobs: what every size shares, and what a small one needs.

The largest size is trained first, with what was set and what ``auto`` chooses for it, but without the mean of the
weights, which is behind the last ones in a short run: small sizes would look worse than they are. Every other size
takes its learning rate, its weights and precision, and its number of epochs, so that the rows alone differ. A size
too small for ``least_steps`` optimizer steps (or as many as the largest had, if those are fewer) would hardly be
trained at all: it gets smaller batches first, down to ``LEAST_BATCH`` tokens, and then more epochs, up to
``MOST_EPOCHS``. What the user has set is never changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from honed.config import build
from honed.evaluate.config import EvaluateConfig
from honed.rounds.curve.config import CurveConfig
from honed.store.artifacts import Artifact
from honed.train.config import TrainConfig
from honed.train.objectives.kinds import KINDS

LEAST_BATCH = 1024
MOST_EPOCHS = 10.0
HELD_OUT = 500
"""Held-out rows that are measured unless the evaluation's settings say otherwise, chosen by hash."""

_SHARED = ("learning_rate", "weights", "precision")


def examples(dataset: Artifact, objective: str) -> tuple[int, str]:
    """Return how many examples the objective can learn from, as ``rows`` of its settings counts, and their name."""
    facts = dataset.manifest.facts
    learns = KINDS[objective].learns
    if learns == "rows":
        return int(facts["train"]), "rows"
    pairs = int(facts.get("preferences", 0))
    if learns == "preferences":
        return pairs, "preferences"
    return pairs + int(facts.get("ratings", 0)), "ratings and preferences"


def training(config: CurveConfig, size: int, data: str, shared: Mapping[str, Any]) -> TrainConfig:
    """Return the settings of one size; ``shared`` is what the largest size's result gave (``recipe``), or nothing.

    Raises ``ConfigError`` that names the key that is wrong.
    """
    values = {
        "average": False,
        **config.train,
        "base": config.base,
        "data": data,
        "name": f"{config.name}-{size}",
        "rows": size,
    }
    if shared:
        values |= {key: shared[key] for key in _SHARED if config.train.get(key, "auto") == "auto"}
        values |= _passes(config, size, shared)
    return build(TrainConfig, values, "train")


def recipe(config: CurveConfig, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the other sizes take from the largest size's result."""
    ran = result["ran"]
    return {
        **{key: ran[key] for key in _SHARED},
        "epochs": result["epochs"],
        "batch_tokens": ran["batch_tokens"],
        "tokens_per_row": result["dataset_tokens"] / max(1.0, config.sizes[-1] * result["epochs"]),
        "least_steps": min(config.least_steps, result["steps"]),  # no size gets more steps than the largest
        "seed": config.seed,
    }


def evaluation(config: CurveConfig, model: str, data: str) -> EvaluateConfig:
    """Return the settings of one model's evaluation. Raises ``ConfigError`` that names the key that is wrong."""
    return build(EvaluateConfig, {**evaluation_values(config), "model": model, "data": data}, "evaluate")


def evaluation_values(config: CurveConfig) -> dict[str, Any]:
    """Return the settings that all evaluations share."""
    # The base is measured in the chat template that the others are trained in: its loss stands beside theirs.
    written = {"template": config.train.get("template")}
    given = {"unverified_answers": 0, "seed": config.seed, **written, **config.evaluate}
    return {**given, "loss": True, "split": "heldout"}


def _passes(config: CurveConfig, size: int, shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return epochs and batch_tokens of a size; tokens are estimated from the largest size's rows."""
    tokens = size * shared["tokens_per_row"]
    epochs = float(config.train.get("epochs", shared["epochs"]))
    batch = int(config.train.get("batch_tokens", shared["batch_tokens"]))
    if "batch_tokens" not in config.train:
        room = int(tokens * epochs / shared["least_steps"])
        batch = min(batch, max(LEAST_BATCH, room))
    if "epochs" not in config.train:
        wanted = shared["least_steps"] * batch / tokens
        epochs = round(min(max(epochs, wanted), max(epochs, MOST_EPOCHS)), 2)
    return {"epochs": epochs, "batch_tokens": batch}
