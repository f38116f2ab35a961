"""Tiny models with adapters, trained a little, for the numerics tests."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from honed.models.chat import Encoded
from honed.train import adapters, attention
from honed.train.head import MATRIX
from honed.train.lora import LoraLinear
from honed.train.lora_config import LoraConfig
from honed.train.objectives.sft import Sft
from honed.train.optim import Optimizer
from tests.numerics.rows import packed_model, uneven

KINDS = {
    "lora": LoraConfig(rank=4, alpha=8.0),
    "rslora": LoraConfig(rank=4, alpha=8.0, rslora=True),
    "dora": LoraConfig(rank=4, alpha=8.0, dora=True),
    "some layers": LoraConfig(rank=4, alpha=8.0, targets=("q_proj", "layers.1.mlp.*")),
}


def adapted(made: LoraConfig = KINDS["lora"], seed: int = 0, model: PreTrainedModel | None = None) -> PreTrainedModel:
    model = packed_model() if model is None else model
    adapters.add(model, made, seed=seed)
    return model


def stir(model: PreTrainedModel) -> PreTrainedModel:
    """Give every B, and every magnitude, a value that it doesn't start from: all tensors then have a gradient."""
    torch.manual_seed(3)
    for layer in layers(model).values():
        torch.nn.init.normal_(layer.lora_B, std=0.1)
        if layer.moved is not None:
            layer.moved.data += 0.2 * layer.squares.sqrt() * torch.rand_like(layer.moved)
    return model


def layers(model: PreTrainedModel) -> dict[str, LoraLinear]:
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}


def steps(model: PreTrainedModel, count: int, rate: float = 1e-2) -> Optimizer:
    """Train a little on uneven rows."""
    optimizer = Optimizer([(n, p) for n, p in model.named_parameters() if p.requires_grad], weight_decay=0.0)
    objective, rows = Sft(MATRIX), uneven(4)
    model.train()
    for _ in range(count):
        pack = objective.collate(rows)
        (objective.loss(model, pack) / pack.weights.sum()).backward()
        optimizer.accumulate()
        optimizer.step(rate, 1.0)
    model.eval()
    return optimizer


@torch.no_grad()
def logits(model: torch.nn.Module, row: Encoded) -> Tensor:
    ours = model.config._attn_implementation != "sdpa"
    inputs = {"segments": attention.Segments((len(row.ids),))} if ours else {}
    out: Tensor = model(torch.tensor([row.ids]), **inputs).logits
    return out
