"""The adapted linear layer: low-rank adapters beside a frozen weight, and exactly the arithmetic that they need.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"; Liu et al. 2024, "DoRA: Weight-Decomposed
Low-Rank Adaptation". The layer is one autograd function: of its input it keeps one tensor, shared by all layers that
read it, and the low-rank product, which is small. The frozen weight gets no gradient, sums are taken in place, and
nothing is computed for the layers below the first adapter.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from honed.train.quantise import Nf4Linear, dense


class _LowRank(torch.autograd.Function):
    """``x W' + scale * drop(x) A' B'``. Shapes: x T x in, A rank x in, B out x rank, dropped T x in (bool) or None."""

    @staticmethod
    def forward(  # noqa: PLR0913 - the operands of one formula
        ctx: Any, x: Tensor, a: Tensor, b: Tensor, base: nn.Linear | Nf4Linear, scale: float, dropped: Tensor | None
    ) -> Tensor:
        low = _drop(x, dropped) @ a.T
        low *= scale
        out = functional.linear(x, dense(base))
        out.addmm_(low, b.T)
        ctx.save_for_backward(x, low, a, b, dropped)
        ctx.base, ctx.scale = base, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, low, a, b, dropped = ctx.saved_tensors
        grad_low = grad @ b
        grad_low *= ctx.scale
        # (low' grad)' rather than grad' low: the wide matrix is read along its rows, half again as fast on a CPU.
        grad_b = (low.T @ grad).T if ctx.needs_input_grad[2] else None
        grad_a = grad_low.T @ _drop(x, dropped) if ctx.needs_input_grad[1] else None
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = grad @ dense(ctx.base)
            if dropped is None:
                grad_x.addmm_(grad_low, a)
            else:
                grad_x += (grad_low @ a).masked_fill_(dropped, 0)
        return grad_x, grad_a, grad_b, None, None, None


class _Rescaled(torch.autograd.Function):
    """``x * (magnitude / norm)`` in place; the norm counts as a constant. Shapes: x T x out, the others (out,).

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
        grad_magnitude = room.sum(0, dtype=magnitude.dtype) / magnitude
        grad_magnitude.masked_fill_(magnitude == 0, 0)  # a row of zeros stays one
        torch.mul(grad, (magnitude / norm).to(grad.dtype), out=room)
        return room, grad_magnitude, None


def _drop(x: Tensor, dropped: Tensor | None) -> Tensor:
    return x if dropped is None else torch.where(dropped, x.new_zeros(()), x)


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
        flat = x.reshape(-1, x.shape[-1])
        dropped, scale = None, self.scale
        if self.dropout and self.training:
            dropped = _dropped(flat, self.dropout)
            scale /= 1 - self.dropout
        out: Tensor = _LowRank.apply(flat, self.lora_A, self.lora_B, self.base, scale, dropped)  # type: ignore[no-untyped-call]
        magnitude = self.magnitude
        if magnitude is not None:
            out = _Rescaled.apply(out, magnitude, self.norm())  # type: ignore[no-untyped-call]
        if self.base.bias is not None:
            out = out + self.base.bias
        return out.view(*x.shape[:-1], -1)

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
