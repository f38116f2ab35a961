"""Adapters on a model: which layers get one, merging them into the weights, and PEFT's format on disk."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

from honed.errors import ConfigError
from honed.models.save import os_errors
from honed.store.workspace import writing
from honed.train import reach
from honed.train.lora import LoraLinear, start
from honed.train.lora_config import LoraConfig
from honed.train.quantise import Nf4Linear, linear


def add(model: PreTrainedModel, adapters: LoraConfig, *, seed: int) -> list[str]:
    """Freeze the model and put adapters on its layers; return the names of these.

    The start depends on ``seed`` alone, not on what was drawn before, nor on the device. Raises ``ConfigError`` if a
    target is no linear layer of the model, or there is none.
    """
    names = chosen(model, adapters.targets)
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name in names:
        base = model.get_submodule(name)
        assert isinstance(base, nn.Linear | Nf4Linear)
        first = start(adapters.rank, base.in_features, generator).to(device=_device(base), dtype=model.dtype)
        layer = LoraLinear(base, first, scale=adapters.scale, dropout=adapters.dropout, dora=adapters.dora)
        model.set_submodule(name, layer.train(base.training))
    return names


def linear_layers(model: PreTrainedModel) -> list[str]:
    """Return the names of all linear layers that can have an adapter, in the model's order.

    The head is left out: its weight is often the embedding's, and its logits are computed with the loss. So is what
    ``reach.apart`` finds.
    """
    return [layer for layer, why in linear(model).items() if why is None]


def left_out(model: PreTrainedModel) -> dict[str, str]:
    """Return the linear layers that can't have an adapter, the head aside, each with why."""
    return {layer: why for layer, why in linear(model).items() if why is not None}


def matrices(model: PreTrainedModel) -> int:
    """Return how many weights the layers that could get adapters have."""
    return sum(math.prod(_sizes(model, name)) for name in linear_layers(model))


def count(model: PreTrainedModel, rank: int, targets: Sequence[str] | None = None) -> int:
    """Return how many weights adapters would have, without making them; raises what ``chosen`` does."""
    return sum(rank * sum(_sizes(model, name)) for name in chosen(model, targets))


def reach_most(model: PreTrainedModel) -> bool:
    """Whether adapters would be beside most of what the model computes with, its embeddings and head aside.

    They aren't where the experts of a layer are one tensor, nor where layers are of another type than ``nn.Linear``.
    Nor in models with convolutions (Mamba and its kin): their fused code reads weights of layers that it doesn't call.
    """
    if any(isinstance(module, nn.Conv1d) for module in model.modules()):
        return False
    tables = [module for module in (model.get_input_embeddings(), model.get_output_embeddings()) if module is not None]
    aside = {id(weight): weight.numel() for module in tables for weight in module.parameters()}  # once if tied
    computed_with: int = sum(p.numel() for p in model.parameters()) - sum(aside.values()) - reach.beside_text(model)
    return 2 * matrices(model) > computed_with


def chosen(model: PreTrainedModel, targets: Sequence[str] | None) -> list[str]:
    """Return the layers that a target names: whole (``model.layers.0.mlp.up_proj``), by its end (``up_proj``,
    ``mlp.up_proj``), or as a pattern of either (``layers.[01].*``, ``*.self_attn.?_proj``).

    Without targets, all whose adapters PEFT reads as what they are. Raises ``ConfigError`` for a target that names
    nothing that can have an adapter, and if there is no such layer at all.
    """
    layers = linear_layers(model)
    if not layers:
        raise ConfigError("this model has no linear layer to adapt", "Train its weights in full: weights: full.")
    if targets is None:
        misread = set(reach.misread(model, layers))
        return [layer for layer in layers if layer not in misread]
    for target in targets:
        if not any(_names(target, layer) for layer in layers):
            raise _unknown(target, layers, left_out(model))
    return [layer for layer in layers if any(_names(target, layer) for target in targets)]


def _names(target: str, layer: str) -> bool:
    return fnmatchcase(layer, target) or fnmatchcase(layer, f"*.{target}")


def _unknown(target: str, layers: Sequence[str], apart: Mapping[str, str]) -> ConfigError:
    ends = sorted({layer.rpartition(".")[2] for layer in layers})
    for layer, why in apart.items():
        if _names(target, layer):
            return ConfigError(
                f"lora.targets: layers such as {layer} ({target!r}) can't have adapters: {why}",
                f"Leave it out. Layers that can: {', '.join(ends)}.",
            )
    near = difflib.get_close_matches(target, [*ends, *layers], n=1)
    known = f"Its layers: {', '.join(ends)}; or a whole name such as {layers[0]}."
    return ConfigError(
        f"lora.targets: {target!r} is no linear layer of this model that can be adapted (the head can't be)",
        f"Did you mean {near[0]!r}? {known}" if near else known,
    )


def merge(model: PreTrainedModel) -> None:
    """Add every adapter into its layer's weight and put plain layers back, in place; quantised ones are unpacked."""
    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLinear):
            model.set_submodule(name, module.merged())
        elif isinstance(module, Nf4Linear) and not name.endswith(".base"):
            model.set_submodule(name, module.dequantised())


def save(model: PreTrainedModel, adapters: LoraConfig, folder: Path, *, base: str) -> None:
    """Write ``adapter_model.safetensors`` and ``adapter_config.json`` as PEFT reads them; call it before ``merge``.

    ``base`` is what PEFT and transformers will load beside them: a hub id, or a whole path, for they read others as
    seen from where they are started.
    """
    tensors = {}
    added = {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}
    for name, module in added.items():
        key = f"base_model.model.{name}"
        tensors[f"{key}.lora_A.weight"] = module.lora_A.detach().cpu().contiguous()
        tensors[f"{key}.lora_B.weight"] = module.lora_B.detach().cpu().contiguous()
        magnitude = module.magnitude
        if magnitude is not None:
            tensors[f"{key}.lora_magnitude_vector"] = magnitude.detach().cpu()
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": adapters.rank,
        "lora_alpha": adapters.alpha,
        "lora_dropout": adapters.dropout,
        "use_rslora": adapters.rslora,
        "use_dora": adapters.dora,
        "target_modules": _target_modules(model, list(added)),
        "bias": "none",
        "inference_mode": True,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with writing(folder), os_errors():
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def _target_modules(model: PreTrainedModel, added: Sequence[str]) -> list[str]:
    """Return the adapted layers' last names, which all tools understand, or whole names if those would match others."""
    ends = {name.rpartition(".")[2] for name in added}
    inside = {f"{name}.base" for name in added}
    matched = {n for n, _ in model.named_modules() if n.rpartition(".")[2] in ends} - inside
    return sorted(ends if matched == set(added) else added)


def _sizes(model: PreTrainedModel, name: str) -> tuple[int, int]:
    layer = model.get_submodule(name)
    assert isinstance(layer, nn.Linear | Nf4Linear)
    return layer.in_features, layer.out_features


def _device(layer: nn.Linear | Nf4Linear) -> torch.device:
    return layer.packed.device if isinstance(layer, Nf4Linear) else layer.weight.device
