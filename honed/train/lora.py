"""The adapted linear layer: low-rank adapters beside a frozen weight, and exactly the arithmetic that they need.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"; Liu et al. 2024, "DoRA: Weight-Decomposed
Low-Rank Adaptation". What is computed, and what is kept for the backward pass: ``kernels.low_rank``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from honed.train.kernels import low_rank
from honed.train.quantise import Nf4Linear, dense


class _Rescaled(torch.autograd.Function):
    """``x * (magnitude / norm)`` in place; the norm counts as a constant. Shapes: x ... x out, the others (out,).

    Only the result is kept, which what comes next mostly keeps too: where the magnitude isn't 0 it tells x.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, magnitude: Tensor, norm: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        x *= magnitude / norm
        ctx.save_for_backward(x, magnitude, norm)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        out, magnitude, norm = ctx.saved_tensors
        room = grad * out
        grad_magnitude = room.flatten(0, -2).sum(0, dtype=magnitude.dtype) / magnitude
        grad_magnitude.masked_fill_(magnitude == 0, 0)  # a row of zeros stays one
        torch.mul(grad, (magnitude / norm).to(grad.dtype), out=room)
        return room, grad_magnitude, None


def _dropped(x: Tensor, probability: float) -> Tensor:
    """Return where ``x`` is dropped, drawn from torch's own generator.

    On a CPU four elements share one draw of 64 bits: four times as fast as one draw each, and the probability is
    within 1/65536 of what was asked for.
    """
    if x.device.type != "cpu":
        return torch.empty_like(x, dtype=torch.bool).bernoulli_(probability)
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    return draws.view(torch.int16)[: x.numel()].view(x.shape) < round(probability * 2**16) - 2**15


class LoraLinear(nn.Module):
    """``base(x) + scale * B(A(dropout(x)))`` with the base frozen; A is rank x in, B is out x rank.

    With ``dora`` the sum (without bias) is multiplied by ``magnitude / |W + scale B A|``, per output, where the norm
    counts as a constant for the gradient (section 4.3 of the paper). What is trained is by how much the magnitude has
    moved from ``|W|``: a placement that has its weights in 16 bits then rounds the step, and not the magnitude.
    """

    moved: nn.Parameter | None
    squares: Tensor

    def __init__(self, base: nn.Linear | Nf4Linear, start: Tensor, *, scale: float, dropout: float, dora: bool) -> None:
        """``start`` is what A starts from, in its dtype and on its device; B starts at zero."""
        super().__init__()
        self.base = base
        self.scale = scale
        self.dropout = dropout
        self.lora_A = nn.Parameter(start)
        self.lora_B = nn.Parameter(start.new_zeros(base.out_features, start.shape[0]))
        if dora:
            weight = dense(base)
            wide = torch.promote_types(weight.dtype, torch.float32)
            squares = torch.linalg.vector_norm(weight, dim=1, dtype=wide).square()
            self.register_buffer("squares", squares, persistent=False)
            self.moved = nn.Parameter(torch.zeros_like(squares))
        else:
            self.moved = None

    @property
    def magnitude(self) -> Tensor | None:
        """The length (out,) of every row of what the layer multiplies by, in fp32 at least; None without DoRA."""
        return None if self.moved is None else self.squares.sqrt() + self.moved

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: ... x in -> ... x out."""
        (out,) = side_by_side(x, [self])
        return out

    def adapter(self, x: Tensor) -> low_rank.Adapter:
        """Return what is beside the base for an input like ``x``, with what is dropped of it drawn anew."""
        dropped, scale = None, self.scale
        if self.dropout and self.training:
            dropped = _dropped(x.flatten(0, -2), self.dropout)
            scale /= 1 - self.dropout
        return low_rank.Adapter(self.base, self.lora_A, self.lora_B, scale, dropped)

    def finished(self, out: Tensor) -> Tensor:
        """Return the layer's output from the sum of base and adapter."""
        magnitude = self.magnitude
        if magnitude is not None:
            out = _Rescaled.apply(out, magnitude, self.norm())  # type: ignore[no-untyped-call]
        return out if self.base.bias is None else out + self.base.bias

    @torch.no_grad()
    def norm(self) -> Tensor:
        """Return the length of every row of ``W + scale B A`` (out,), in fp32 at least, without making that matrix.

        ``|w + u|^2 = |w|^2 + 2 w.u + |u|^2``, and with u = scale b A both products go through the rank.
        """
        a, wide = self.lora_A, self.squares.dtype
        b = self.lora_B.to(wide)
        cross = ((dense(self.base) @ a.T).to(wide) * b).sum(1)
        square = ((b @ (a @ a.T).to(wide)) * b).sum(1)
        total = self.squares + 2 * self.scale * cross + self.scale**2 * square
        return total.clamp_min(torch.finfo(wide).tiny).sqrt()

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return a linear layer with the adapter added into the weight that it was trained beside, in fp32 at least.

        A plain base is changed in place. A quantised one is left: its weight was what ``dense`` gives, and so the sum
        is made from that.
        """
        weight = dense(self.base)
        wide = torch.promote_types(weight.dtype, torch.float32)
        total = torch.addmm(weight.to(wide), self.lora_B.to(wide), self.lora_A.to(wide), alpha=self.scale)
        magnitude = self.magnitude
        if magnitude is not None:
            total *= (magnitude / self.norm())[:, None]
        layer = self.base if isinstance(self.base, nn.Linear) else self.base.dequantised()
        layer.weight.copy_(total)
        return layer


def start(rank: int, features: int, generator: torch.Generator) -> Tensor:
    """Return a Kaiming-uniform A (rank x features) as in the paper's code, in fp32, drawn on the CPU on any machine."""
    bound = 1 / math.sqrt(features)
    return torch.empty(rank, features).uniform_(-bound, bound, generator=generator)


def side_by_side(x: Tensor, layers: Sequence[LoraLinear]) -> tuple[Tensor, ...]:
    """Return each layer's output for one input, ... x in."""
    outs = low_rank.beside(x, [layer.adapter(x) for layer in layers])
    return tuple(layer.finished(out) for layer, out in zip(layers, outs, strict=True))


def behind_swiglu(gate: Tensor, up: Tensor, layer: LoraLinear, *, compiled: bool = False) -> Tensor:
    """Return the layer's output for ``silu(gate) * up``, which isn't kept. Shapes: gate and up ... x in."""
    out = low_rank.behind_swiglu(gate, up, layer.adapter(gate), compiled=compiled)
    return layer.finished(out)
