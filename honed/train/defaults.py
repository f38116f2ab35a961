"""Settings that were left open, chosen from the model, the data and the machine; each choice with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec

from honed.errors import ConfigError
from honed.jobs import cluster
from honed.train.config import TrainConfig

BYTES_PER_WEIGHT = 16
"""Full training: weight, gradient and two AdamW moments in fp32 (or bf16 weight and gradient plus fp32 master)."""

BYTES_OF_MEAN = 4
"""Besides, where the mean of the weights is kept."""

RATE_SHARE = {"sft": 1.0, "dpo": 0.1, "kto": 0.2, "orpo": 0.8, "simpo": 0.05}
"""Learning rate of an objective beside that of supervised fine-tuning; all but ORPO move one that can already do its
task. DPO: Lambert et al. 2024, "Tulu 3", take 5e-7 for it and 5e-6 for supervised fine-tuning of the same 8B model.
KTO: Ethayarajh et al. 2024 advise 2 to 10 times DPO's rate; this is the low end. ORPO learns the chosen answers as
supervised fine-tuning does: Hong et al. 2024 take 8e-6 at 7B, where rates here are shares of 1e-5. SimPO: Meng et al.
2024 take 3e-7 to 1e-6 at 7B and 8B, and warn of more."""


@dataclass(frozen=True)
class Facts:
    """What the choices depend on. ``memory`` is what is free for each rank, in bytes; ``tokens`` are those of all rows.

    ``shares`` is the number of ranks that the weights are divided among, 1 where each rank holds all. ``adapters`` is
    the number of weights that adapters on all linear layers would have, 0 where these aren't most of the model.
    ``examples`` are those that steps are filled with, 0 where each row is one: answers may be examples of their own.
    """

    parameters: int
    rows: int
    tokens: int
    memory: int
    device: str
    precision: str
    precision_reason: str
    shares: int = 1
    adapters: int = 0
    examples: int = 0


@dataclass(frozen=True)
class Settings:
    """Settings with nothing left open, and why each was chosen."""

    weights: str
    epochs: float
    learning_rate: float
    schedule: str
    average: bool
    warmup: float
    weight_decay: float
    clip_norm: float
    batch_tokens: int
    pack_tokens: int
    device: str
    precision: str
    eval_every: int
    checkpoint_every: int | None
    keep_checkpoints: int
    keep_best: bool
    seed: int
    reasons: tuple[str, ...]


def resolve(config: TrainConfig, facts: Facts) -> Settings:
    """Return the settings of a run; what the user set stands, the rest is chosen and explained."""
    weights, why_weights = _weights(config, facts)
    rate, why_rate = _learning_rate(config, facts, weights)
    epochs, why_epochs = _epochs(config, facts)
    batch, why_batch = _batch_tokens(config, facts, weights)
    pack = config.pack_tokens or _pack_tokens(batch, facts)
    steps = _steps(facts, epochs, batch)
    average = averages(config, weights) and (config.average is True or steps >= _LEAST_AVERAGED)
    return Settings(
        weights=weights,
        epochs=epochs,
        learning_rate=rate,
        schedule=config.schedule or ("constant" if average else "cosine"),
        average=average,
        warmup=config.warmup,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
        batch_tokens=batch,
        pack_tokens=pack,
        device=facts.device,
        precision=facts.precision,
        eval_every=config.eval_every or math.ceil(steps / 5),
        checkpoint_every=config.checkpoint_every,
        keep_checkpoints=config.keep_checkpoints,
        keep_best=config.keep_best,
        seed=config.seed,
        reasons=tuple(
            reason
            for reason in (
                why_weights,
                why_rate,
                _why_average(config, average=average),
                why_epochs,
                why_batch,
                f"precision {facts.precision}: {facts.precision_reason}",
            )
            if reason
        ),
    )


_SMALL = 0.1
"""What adapters are of the model's weights, at most, where they are chosen to save time and memory."""

_LEAST_OF_ADAPTERS = 100
"""Steps of a run in which they are chosen. They begin at nothing: of help-desk rows they learn less than all weights in
38 steps, and as much in 114 (docs/training_speed.md)."""


def _weights(config: TrainConfig, facts: Facts) -> tuple[str, str]:
    """Adapters where the rows fit into them, for they learn as much as all weights, sooner; else what fits in memory.

    Schulman et al. 2025, "LoRA Without Regret", found them level with all weights on such data; the guide to their
    service advises no fewer weights than tokens to learn. Both on the same rows: docs/training_speed.md.
    Preferences weren't compared. A low rate that is set was meant for all weights, ``shard`` is there to make them fit,
    and a template of ours may mark turns by tokens that the model never learned, in tables that adapters don't reach.
    """
    weights, why = choose_weights(config, facts.parameters, facts.memory, facts.shares)
    if config.weights != "auto" or weights == "lora" or config.objective != "sft":
        return weights, why
    size = f"adapters of rank {config.lora.rank}"
    steps = _steps(facts, _epochs(config, facts)[0], _batch_tokens(config, facts, "lora")[0])
    kept = [
        (_is_low(config.learning_rate, facts), f"learning_rate {config.learning_rate} is one for all weights"),
        (config.shard != "none", f"shard {config.shard} is there for all weights"),
        (config.template is not None, f"template {config.template} may use tokens that adapters can't learn"),
        (not facts.adapters, "adapters would reach too little of this model"),
        (facts.adapters > _SMALL * facts.parameters, f"{size} would be more than a tenth of the model"),
        (facts.tokens > facts.adapters, f"{facts.tokens} tokens are more than the {facts.adapters} weights of {size}"),
        (steps < _LEAST_OF_ADAPTERS, f"{steps} steps are few for adapters"),
    ]
    if cause := next((cause for holds, cause in kept if holds), None):
        return weights, f"{why}; {cause}"
    return "lora", f"weights lora: {facts.tokens} tokens fit into the {facts.adapters} weights of {size}"


def choose_weights(config: TrainConfig, parameters: int, memory: int, shares: int) -> tuple[str, str]:
    """Return which weights can be trained, all if they fit, and why unless the user set it.

    The numbers are those of ``Facts``. How much there is to learn isn't known yet.
    """
    if config.weights != "auto":
        return config.weights, ""
    if config.lora.named:
        return "lora", "weights lora: something is set of lora"
    each = BYTES_PER_WEIGHT + BYTES_OF_MEAN * averages(config, "full")
    need = each * parameters / shares
    among = f" on each of {shares} ranks" if shares > 1 else ""
    size = f"{parameters / 1e6:.0f}M weights need {need / 1e9:.1f} GB{among} ({each} bytes each)"
    if need < 0.5 * memory:
        return "full", f"weights full: {size}, {memory / 1e9:.1f} GB are free"
    half = f"more than half of the {memory / 1e9:.1f} GB that are free (passes need the rest)"
    return "lora", f"weights lora: {size} to train in full, {half}"


_RATE_OF_ADAPTERS = 10
"""Beside that of all weights: Schulman et al. 2025, "LoRA Without Regret", section on the optimal learning rate."""


def _rate_of_all(facts: Facts) -> float:
    return next(rate for size, rate in ((3e8, 1e-4), (2e9, 2e-5), (float("inf"), 1e-5)) if facts.parameters < size)


def _is_low(rate: float | None, facts: Facts) -> bool:
    """Whether a rate is nearer to that of all weights, by factors, than to that of adapters."""
    return rate is not None and rate < math.sqrt(_RATE_OF_ADAPTERS) * _rate_of_all(facts)


def _learning_rate(config: TrainConfig, facts: Facts, weights: str) -> tuple[float, str]:
    """Small models take larger rates; LoRA's best rate is about ten times full training's."""
    if config.learning_rate:
        return config.learning_rate, ""
    full = _rate_of_all(facts)
    rate = (full if weights == "full" else _RATE_OF_ADAPTERS * full) * RATE_SHARE[config.objective]
    by = "" if config.objective == "sft" else f" by {config.objective}"
    return rate, f"learning_rate {rate:g}: usual for {weights} training{by} of {facts.parameters / 1e6:.0f}M weights"


_LEAST_AVERAGED = 60
"""Steps of a run whose mean is kept unasked: docs/training_speed.md has the mean ahead from some 50 on."""


def averages(config: TrainConfig, weights: str) -> bool:
    """Whether the mean of the weights may be kept: of adapters it costs next to nothing, of all weights 4 bytes each.

    Where it wasn't asked for, ``resolve`` keeps none of a short run: a mean over few steps is behind the last of them.
    """
    if config.average is not None:
        return config.average
    return config.schedule is None and config.objective == "sft" and weights != "full"


def _why_average(config: TrainConfig, *, average: bool) -> str:
    if config.average is not None or not average:
        return ""
    return (
        "average: the model is the mean of the run's weights, at a constant rate; set a schedule for the last weights"
    )


def _epochs(config: TrainConfig, facts: Facts) -> tuple[float, str]:
    if config.epochs:
        return config.epochs, ""
    if config.objective != "sft":
        return 1.0, "epochs 1: preferences seen again are soon learned by heart, and answers drift away"
    rows = facts.rows
    epochs = 3.0 if rows < 1_000 else 2.0 if rows < 10_000 else 1.0
    return epochs, f"epochs {epochs:g}: {rows} rows are {'few' if epochs > 1 else 'many'}"


def _steps(facts: Facts, epochs: float, batch: int) -> int:
    return max(1, round(epochs * epoch_steps(facts.examples or facts.rows, facts.tokens, batch)))


def epoch_steps(examples: int, tokens: int, batch: int) -> int:
    """Return how many steps of ``batch`` tokens an epoch has, about: a step has an example, which is never cut."""
    return max(1, min(examples, round(tokens / batch)))


LEAST_PASS = 896
"""Tokens of a pass that nobody set: no device gets fewer, unless a step has no more."""


def _pack_tokens(batch: int, facts: Facts) -> int:
    """Tokens of a pass: on a CPU, products of some hundred rows are as fast as larger ones, and memory is what counts.

    A batch that nearly fits isn't cut: a small rest would read all weights once more. In 16 bits what a pass keeps is
    half as much, and what each pass costs once (weights laid out, gradients summed) weighs more beside its products.
    """
    if facts.device == "cuda":
        return min(batch, 8192)
    if facts.precision == "bf16":
        return min(batch, 2048)
    return batch if batch <= 1024 else LEAST_PASS


_STEPS, _STEPS_OF_ADAPTERS = 60, 200
"""Steps of an epoch, about. A large step costs adapters more of what is learned (Schulman et al. 2025), and a small one
costs a CPU little of its time, for their optimizer has few weights to read. On a GPU that wasn't measured."""


def _batch_tokens(config: TrainConfig, facts: Facts, weights: str) -> tuple[int, str]:
    if config.batch_tokens:
        return config.batch_tokens, ""
    total = facts.tokens
    few = weights == "full" or config.objective != "sft" or facts.device != "cpu"
    steps = _STEPS if few else _STEPS_OF_ADAPTERS
    batch = max(1024, min(32_768, total // steps // 1024 * 1024))
    each = epoch_steps(facts.examples or facts.rows, total, batch)
    return batch, f"batch_tokens {batch}: about {each} steps an epoch of {total} tokens"


def check_installed(weights: str, on: str | None = None) -> None:
    """Raise ``ConfigError`` if what these two settings need isn't installed: bitsandbytes for qlora, Ray for ``on``."""
    if weights == "qlora" and find_spec("bitsandbytes") is None:
        raise ConfigError("qlora needs bitsandbytes, which isn't installed", "Install it: pip install 'honed[qlora]'")
    if on:
        cluster.check_installed()
