"""silu(gate) x up, whose product is computed again in the backward pass instead of being kept.

Shazeer 2020, "GLU Variants Improve Transformer". autograd keeps four tensors of the inner width a layer: gate, up,
silu(gate) and the product (for the matrix after it). Kept here: gate and up; the other two cost one pass over memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from honed.train.kernels import room


class _SwiGlu(torch.autograd.Function):
    """The product alone: whatever comes after it (an adapter, say) keeps what it needs."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        (upstream,) = grads
        gate, up = ctx.saved_tensors
        of_up = functional.silu(gate).mul_(upstream)
        return _of_gate(upstream * up, gate), of_up


class _SwiGluDown(torch.autograd.Function):
    """The product and the matrix that takes it back to the model's width, so that the product needn't be kept."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up, down)
        ctx.weight = down
        return functional.linear(functional.silu(gate).mul_(up), down)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (upstream,) = grads
        gate, up, down = ctx.saved_tensors
        of_gate = of_up = of_down = None
        activated = functional.silu(gate)
        product = activated * up
        if ctx.needs_input_grad[2]:
            of_down = room.product(ctx.weight, upstream.flatten(0, -2), product.flatten(0, -2))
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            inner = upstream @ down
            of_gate = _of_gate(torch.mul(inner, up, out=product), gate)
            of_up = activated.mul_(inner)
        return of_gate, of_up, of_down


def _of_gate(upstream: Tensor, gate: Tensor) -> Tensor:
    """Gradient through silu, over ``upstream`` itself."""
    return torch.ops.aten.silu_backward.grad_input(upstream, gate, grad_input=upstream)  # type: ignore[no-any-return]


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """Return ``silu(gate) * up``; all three of one shape and type."""
    result: Tensor = _SwiGlu.apply(gate, up)  # type: ignore[no-untyped-call]
    return result


def swiglu_down(gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """Return ``(silu(gate) * up) @ down.T``. Shapes: gate and up ... x I, down D x I; returns ... x D."""
    result: Tensor = _SwiGluDown.apply(gate, up, down)  # type: ignore[no-untyped-call]
    return result
