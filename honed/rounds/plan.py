"""From a round's settings to those of its jobs, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from honed.config import Config, build
from honed.errors import ConfigError
from honed.evaluate.config import EvaluateConfig
from honed.rounds.config import RoundConfig
from honed.rounds.gate import SuiteConfig
from honed.train.config import TrainConfig

C = TypeVar("C", bound=Config)

_MEASURE = {"loss": False, "unverified_answers": 0}
"""The gate reads verdicts only, so that a round measures nothing else unless it is asked to."""


def training(config: RoundConfig, objective: Literal["sft", "dpo"], base: str, data: str, name: str) -> TrainConfig:
    """Return the settings of one training. Raises ``ConfigError`` that names the key that is wrong."""
    given = dict(config.sft if objective == "sft" else config.dpo)
    if objective == "dpo":
        given.pop("enabled", None)
    fixed = {"objective": objective, "base": base, "data": data, "name": name}
    return _built(TrainConfig, given, {}, fixed, f"round {config.name}: {objective}")


def evaluation(config: RoundConfig, suite: SuiteConfig, model: str) -> EvaluateConfig:
    """Return the settings of one evaluation of a suite. Raises ``ConfigError`` that names the key that is wrong."""
    if "suite" in config.evaluate:
        where = f"round {config.name}: evaluate: 'suite' is set by the round itself"
        raise ConfigError(where, "Name it among the round's suites: - {suite: safety, role: keep, margin: 0.1}")
    fixed: dict[str, Any] = {"model": model, "data": suite.data, "rows": suite.rows, "split": "heldout"}
    fixed["suite"] = suite.suite and (suite.suite,)
    return _built(EvaluateConfig, config.evaluate, _MEASURE, fixed, f"round {config.name}: evaluate")


def wants_preferences(config: RoundConfig) -> bool:
    """Tell whether pairs are trained on when there are any: ``dpo.enabled`` is ``auto`` unless it is set."""
    enabled = config.dpo.get("enabled", "auto")
    if enabled not in ("auto", True, False):
        where = f"round {config.name}: dpo.enabled"
        raise ConfigError(f"{where}: it can be auto, true or false, not {enabled!r}", "auto: when there are pairs.")
    return bool(enabled)


def _built(
    model: type[C], given: Mapping[str, Any], defaults: Mapping[str, Any], fixed: Mapping[str, Any], where: str
) -> C:
    if taken := sorted(given.keys() & fixed.keys()):
        raise ConfigError(f"{where}: {taken[0]!r} is set by the round itself", "Leave it out.")
    return build(model, {**defaults, **given, **fixed}, where)
