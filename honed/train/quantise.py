"""Frozen weights in 4 bits: NF4 with quantised scales, made by bitsandbytes and unpacked where they are multiplied.

Dettmers et al. 2023, "QLoRA: Efficient Finetuning of Quantized LLMs", sections 3 (NF4, double quantisation).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from transformers import PreTrainedModel

from honed.train import reach
from honed.train.defaults import check_installed

_BLOCK = 64


class _Frozen(torch.autograd.Function):
    """``x W' + bias``, which keeps nothing for the backward pass: the weight is unpacked again there."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Nf4Linear) -> Tensor:
        ctx.layer = layer
        return functional.linear(x, layer.unpacked(), layer.bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad @ ctx.layer.unpacked(), None


class Nf4Linear(nn.Module):
    """A frozen linear layer whose weight is held as NF4 codes, in blocks of 64 with 8-bit scales: 4.13 bits each."""

    packed: Tensor

    def __init__(self, layer: nn.Linear, device: str) -> None:
        """Quantise ``layer`` on ``device``, where the result stays."""
        super().__init__()
        from bitsandbytes import functional as bnb

        self.in_features, self.out_features = layer.in_features, layer.out_features
        weight = layer.weight.detach().to(device).contiguous()
        # As rows of one block each where that is possible: its kernel for AVX512 takes a block never to go on in the
        # next row, which it does if rows have no multiple of 64 weights. The codes are the same.
        weight = weight.view(-1, _BLOCK) if weight.numel() % _BLOCK == 0 else weight.view(1, -1)
        packed, self._state = bnb.quantize_4bit(weight, quant_type="nf4", compress_statistics=True, blocksize=_BLOCK)
        self.register_buffer("packed", packed, persistent=False)
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().to(device), requires_grad=False)

    def unpacked(self) -> Tensor:
        """Return the weight that the codes stand for, out x in, in the dtype that was quantised."""
        from bitsandbytes import functional as bnb

        weight: Tensor = bnb.dequantize_4bit(self.packed, self._state)
        return weight.view(self.out_features, self.in_features)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: ... x in -> ... x out."""
        out: Tensor = _Frozen.apply(x, self)  # type: ignore[no-untyped-call]
        return out

    @torch.no_grad()
    def dequantised(self) -> nn.Linear:
        """Return the layer as it computes, with a plain weight in the CPU's memory."""
        weight = self.unpacked().cpu()
        layer = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        layer.weight = nn.Parameter(weight, requires_grad=False)
        if self.bias is not None:
            layer.bias = nn.Parameter(self.bias.detach().cpu(), requires_grad=False)
        return layer


def dense(layer: nn.Linear | Nf4Linear) -> Tensor:
    """Return the layer's weight, out x in: the tensor that is there, or one unpacked for this use."""
    return layer.unpacked() if isinstance(layer, Nf4Linear) else layer.weight


def linear(model: PreTrainedModel) -> dict[str, str | None]:
    """Return the names of the linear layers, the head aside, in the model's order.

    Each has why it can have neither an adapter nor 4 bits (``reach.apart``); None: it can.
    """
    head, parts = model.get_output_embeddings(), reach.apart(model)
    return {
        name: reach.why_apart(name, parts)
        for name, module in model.named_modules()
        if type(module) in (nn.Linear, Nf4Linear) and module is not head
    }


def quantise(model: PreTrainedModel, device: str) -> None:
    """Replace the linear layers that can have 4 bits by their NF4 form, one by one, and move the model to ``device``.

    The model may be larger than the device's memory: only one plain layer at a time is moved. Raises ``ConfigError``
    where bitsandbytes isn't installed.
    """
    check_installed("qlora")
    for name, why in linear(model).items():
        if why is None:
            layer = model.get_submodule(name)
            assert isinstance(layer, nn.Linear)
            model.set_submodule(name, Nf4Linear(layer, device))
    model.to(device)
