"""The noise that a model draws of itself in training, dropout and jitter: whether there is any, how it is turned off.

Objectives that compare likelihoods are trained without, as in TRL (``disable_dropout`` of its DPO, KTO, ORPO and CPO):
the base's have none, and in those of two answers each would have another. A model's settings stay as they are: they are
published.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from transformers import PreTrainedModel

from honed.train import own_attention
from honed.train.objectives.kinds import KINDS

_OTHER_HEADS = ("classifier", "summary")
"""Dropout of heads that language models don't have."""

_OF_ROUTING = "router_jitter_noise"
"""PhiMoE's: it says which experts are level with the best one, without training too. With 0 it is another model."""

_SHOWS = 1e-2
"""By how much of their length hidden states move that aren't only rounded otherwise."""


def drawn(model: PreTrainedModel) -> bool:
    """Return whether training draws any, so that rows can't share what is computed of them.

    A setting of that name is above 0, and so is what a module made of it; or it shows, for the code of some models
    (Falcon) reads the setting.
    """
    settings = model.config.get_text_config().to_dict()
    named = [settings[name] for name in settings if _named(name) and not name.startswith(_OTHER_HEADS)]
    if not any(isinstance(value, float | int) and value > 0 for value in named):
        return False
    return any(_rates(model)) or _shows(model)


def turn_off(model: PreTrainedModel, objective: str) -> tuple[str, ...]:
    """Let the model draw none where the ``objective`` compares likelihoods; return what is to be said of it.

    Call it before kernels are installed, which stand aside for dropout, and before adapters bring their own.
    """
    found = [rate for rate in _rates(model) if rate[1] != _OF_ROUTING] if objective != "sft" else []
    if not found:
        return ()
    for module, name in found:
        setattr(module, name, 0.0)
    rest = ", but for what its code draws all the same" if drawn(model) else ""
    return (f"dropout and jitter of the base model are off{rest}: {objective} compares likelihoods, which they blur",)


def of_adapters(dropout: float, objective: str) -> tuple[str, ...]:
    """Return what is to be said of adapters' dropout, which somebody asked for, beside likelihoods that have none."""
    if not dropout or not KINDS[objective].refers:
        return ()
    level = ", nor has the point that gains are measured from" if objective == "kto" else ""
    return (f"lora.dropout {dropout:g}: answers are learned with it, and the base's likelihoods have none{level}",)


def _named(name: str) -> bool:
    return "drop" in name or "jitter" in name


def _rates(model: PreTrainedModel) -> Iterator[tuple[nn.Module, str]]:
    """Every module's rates above 0, by the name that it has them under."""
    for module in model.modules():
        for name, value in vars(module).items():
            of_dropout = name == "p" and isinstance(module, nn.Dropout)
            if (of_dropout or _named(name)) and isinstance(value, float) and value > 0:
                yield module, name


def _shows(model: PreTrainedModel) -> bool:
    with torch.random.fork_rng(devices=[]):
        noisy = own_attention.hidden(model, None, training=True)
    calm = own_attention.hidden(model, None)
    return bool((noisy - calm).norm() > _SHOWS * calm.norm())
