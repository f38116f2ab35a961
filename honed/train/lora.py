"""LoRA done to a model before the loop: low-rank adapters beside its frozen linear layers.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models". Kept on disk in PEFT's format.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from honed.models.save import os_errors
from honed.store.workspace import writing


class LoraLinear(nn.Module):
    """``base(x) + scale * B(A(dropout(x)))`` with the base frozen; A is rank x in, B is out x rank."""

    def __init__(self, base: nn.Linear, rank: int, scale: float, dropout: float, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        self.scale = scale
        self.dropout = dropout
        # Kaiming-uniform A and zero B, as in the paper's code: the adapted model starts as the base model.
        bound = 1 / math.sqrt(base.in_features)
        start = torch.empty(rank, base.in_features).uniform_(-bound, bound, generator=generator)
        self.lora_A = nn.Parameter(start.to(base.weight))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank).to(base.weight))

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: ... x in -> ... x out."""
        flat = x.reshape(-1, x.shape[-1])
        dropped = nn.functional.dropout(flat, self.dropout, self.training) if self.dropout else flat
        low = dropped @ self.lora_A.T
        # One fused multiply-add writes the sum: a second full-size tensor would cost more than the low-rank product.
        out = torch.addmm(self.base(flat), low, self.lora_B.T, alpha=self.scale)
        return out.view(*x.shape[:-1], -1)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return the base layer with the adapter added into its weight, computed in fp32."""
        update = self.scale * (self.lora_B.float() @ self.lora_A.float())
        self.base.weight.copy_((self.base.weight.float() + update).to(self.base.weight.dtype))
        return self.base


def add(model: PreTrainedModel, *, rank: int, alpha: float, dropout: float, seed: int) -> list[str]:
    """Freeze the model and put adapters on every linear layer but the head; return their names.

    The adapters' start depends on ``seed`` alone, not on what was drawn before.
    """
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    head = model.get_output_embeddings()
    names = [name for name, module in model.named_modules() if type(module) is nn.Linear and module is not head]
    for name in names:
        adapter = LoraLinear(model.get_submodule(name), rank, alpha / rank, dropout, generator)
        model.set_submodule(name, adapter)
    return names


def merge(model: PreTrainedModel) -> None:
    """Add every adapter into its layer's weight and put the plain layer back, in place."""
    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLinear):
            model.set_submodule(name, module.merged())


def save(model: PreTrainedModel, folder: Path, *, base: str, rank: int, alpha: float, dropout: float) -> None:
    """Write ``adapter_model.safetensors`` and ``adapter_config.json`` as PEFT reads them."""
    adapters = {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}
    tensors = {}
    for name, module in adapters.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = module.lora_A.detach().cpu().contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = module.lora_B.detach().cpu().contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    with writing(folder), os_errors():
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": dropout,
        "target_modules": sorted({name.rpartition(".")[2] for name in adapters}),
        "bias": "none",
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n")
