"""The least that a run holds of its model, by the shapes of its weights: what can't fit is refused before it is read.

What passes keep for their backward pass comes on top; that takes a pass to find out (``planner``).
"""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from honed.errors import ConfigError
from honed.train import adapters, cost, placement, reach
from honed.train.config import TrainConfig
from honed.train.cost import Memory
from honed.train.defaults import averages, choose_weights

_NF4_BITS = 4.13
"""Bits of a quantised weight, its share of the scales included (``quantise.Nf4Linear``)."""


class DoesNotFitError(ConfigError):
    """A model's weights, with what training keeps for each of them, are more than the memory that is free.

    ``memory`` is the least that each rank holds, ``free`` what it may; ``advice`` says what to change, ``weights`` and
    ``precision`` how it would have been trained.
    """

    def __init__(
        self, message: str, memory: Memory, free: int, advice: list[str], *, weights: str, precision: str
    ) -> None:
        super().__init__(message, f"{'; '.join(advice)}.")
        self.memory, self.free, self.advice = memory, free, advice
        self.weights, self.precision = weights, precision


def check(config: TrainConfig, model: PreTrainedModel, *, device: str, precision: str, memory: int, host: int) -> None:
    """Raise ``DoesNotFitError`` if what a rank holds of ``model``, which may be an outline, is more than is free.

    ``memory`` is what is free on the device, ``host`` what is free beside it, both in bytes; on a CPU they are one.
    """
    parameters = _numbers(model)
    weights, _ = choose_weights(config, parameters, memory, shares(config))
    settings: dict[str, object] = {"weights": weights, "precision": precision, "shard": config.shard}
    settings |= {"ranks": config.ranks, "average": averages(config, weights)}
    settings |= {"gathered": gathered(model, weights, precision)}
    needed, free, fewer = held(model, config, weights, device, precision), memory, []
    what = f"what {weights} training holds of its weights"
    if needed.total <= free:
        needed, free = Memory(weights=while_loading(model, config, weights, precision)), host
        what = "the whole model, which each rank reads before it is cut up or quantised,"
        fewer = ["start fewer ranks on this machine: --ranks"] if config.shard == "fsdp" else []
        settings["precision"] = "bf16" if weights == "full" else precision  # cut up in fp32, whatever it computes in
    if needed.total > free:
        parts = ", ".join(f"{name} {size / 1e9:.1f}" for name, size in needed.parts.items())
        each = " for each rank" if config.ranks > 1 else ""
        raise DoesNotFitError(
            f"{config.base} doesn't fit: {what} takes at least {needed.total / 1e9:.1f} GB ({parts}), and "
            f"{free / 1e9:.1f} GB are free{each}; nothing was loaded",
            needed,
            free,
            [*fewer, *cost.advice(needed, free, settings)],
            weights=weights,
            precision=precision,
        )


def shares(config: TrainConfig) -> int:
    """How many ranks hold a share of each weight; 1 where each holds all."""
    return max(1, config.ranks) if config.shard == "fsdp" else 1


def held(model: PreTrainedModel, config: TrainConfig, weights: str, device: str, precision: str) -> Memory:
    """Return what each rank holds on the device: weights, their gradients and what the optimizer keeps for them."""
    every = _numbers(model)
    matrices = adapters.matrices(model)
    learned = every - reach.beside_text(model)
    trainable = learned if weights == "full" else adapters.count(model, config.lora.rank, config.lora.targets)
    size = 4 if weights == "full" and config.shard == "fsdp" else _bytes(precision)  # the shares are the fp32 masters
    bits = size * (every - matrices) + _NF4_BITS / 8 * matrices if weights == "qlora" else size * every
    gradients, optimizer = kept(trainable, config, weights, device, precision)
    on_device = 0 if _offloads(config, device) else round(bits) // shares(config)
    together = gathered(model, weights, precision) if config.shard == "fsdp" else 0
    return Memory(weights=on_device, gradients=gradients, optimizer=optimizer, gathered=together)


def gathered(model: PreTrainedModel, weights: str, precision: str) -> int:
    """Return the bytes that FSDP has whole on each rank at a time, all in the precision that is computed in.

    What isn't in a layer (embedding, head, last norm) is whole from the first layer's forward pass to the last one's
    backward pass, for ``fully_shard`` leaves its root so. Beside it a forward pass has a layer three times: as it is
    computed with, as it came, and the one before as that came. A backward pass has it once, the next one as it comes,
    and where all weights are trained its gradients; then also those of the one before, which go to their owners in
    fp32, and the head's, which wait for the root's others. Adapters' are too few to count.
    """
    size = _bytes(precision)
    layers = [_numbers(layer) for layer in placement.layers(model)]
    largest = max(layers, default=0)
    whole = size * (_numbers(model) - sum(layers) + 3 * largest)
    head = model.get_output_embeddings() if weights == "full" else None
    waiting = size * _numbers(head) if head is not None else 0
    return whole + waiting + (4 * largest if weights == "full" else 0)


def kept(trainable: int, config: TrainConfig, weights: str, device: str, precision: str) -> tuple[int, int]:
    """Return the bytes of gradients and of the optimizer's state that each rank holds on the device."""
    if _offloads(config, device):
        return 0, 0
    sharded = config.shard == "fsdp"  # its shares are the fp32 masters, whatever it computes in
    gradients, optimizer = cost.trained(
        trainable, wide=precision == "fp32" or sharded, average=averages(config, weights)
    )
    if summed_at_once(config, weights, device):
        gradients = 4 * trainable  # none is made in 16 bits first
    return gradients // shares(config), optimizer // shares(config)


def summed_at_once(config: TrainConfig, weights: str, device: str) -> bool:
    """Whether matrices have rooms for their gradients (``kernels.room``); adapters have none."""
    return device == "cpu" and config.shard == "none" and weights == "full"


def while_loading(model: PreTrainedModel, config: TrainConfig, weights: str, precision: str) -> int:
    """Return the bytes of the host's memory that a rank needs for a model that is whole there before it is cut up.

    Files that hold the type that is asked for are mapped into memory, and may leave it again.
    """
    if config.shard != "fsdp" and weights != "qlora":
        return 0
    wanted = "fp32" if config.shard == "fsdp" and weights == "full" else precision
    if model.dtype.itemsize == _bytes(wanted):
        return 0
    return _bytes(wanted) * _numbers(model)


def _offloads(config: TrainConfig, device: str) -> bool:
    """Whether weights and moments lie in the host's memory and not on the GPU."""
    return config.cpu_offload and device == "cuda"


def _numbers(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _bytes(precision: str) -> int:
    return 4 if precision == "fp32" else 2
