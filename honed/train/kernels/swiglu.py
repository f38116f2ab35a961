"""silu(gate) x up, whose product is computed again in the backward pass instead of being kept.

Shazeer 2020, "GLU Variants Improve Transformer". autograd keeps four tensors of the inner width a layer: gate, up,
silu(gate) and the product (for the matrix after it). Kept here: gate and up; the other two cost one pass over memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from honed.train.kernels import elementwise, room


class _SwiGlu(torch.autograd.Function):
    """The product alone: whatever comes after it (an adapter, say) keeps what it needs."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, compiled: bool) -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.compiled = compiled
        if compiled:
            return elementwise.by(gate).swiglu(gate, up)
        return functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (upstream,) = grads
        gate, up = ctx.saved_tensors
        if ctx.compiled:
            of_gate, of_up, _ = elementwise.by(gate).swiglu_back(gate, up, upstream)
            return of_gate, of_up, None
        of_up = functional.silu(gate).mul_(upstream)
        return _of_gate(upstream * up, gate), of_up, None


class _SwiGluDown(torch.autograd.Function):
    """The product and the matrix that takes it back to the model's width, so that the product needn't be kept."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, down: Tensor, compiled: bool) -> Tensor:
        ctx.save_for_backward(gate, up, down)
        ctx.weight, ctx.compiled = down, compiled
        if compiled:
            return functional.linear(elementwise.by(gate).swiglu(gate, up, brief=True), down)
        return functional.linear(functional.silu(gate).mul_(up), down)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        (upstream,) = grads
        gate, up, down = ctx.saved_tensors
        learns, goes_on = ctx.needs_input_grad[2], ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        of_gate = of_up = of_down = None
        if ctx.compiled and goes_on:
            kernels = elementwise.by(gate)
            of_gate, of_up, product = kernels.swiglu_back(gate, up, upstream @ down, product=learns, spare=True)
            if product is not None:
                of_down = room.product(ctx.weight, upstream.flatten(0, -2), product.flatten(0, -2))
            return of_gate, of_up, of_down, None
        activated = functional.silu(gate)
        product = activated * up
        if learns:
            of_down = room.product(ctx.weight, upstream.flatten(0, -2), product.flatten(0, -2))
        if goes_on:
            inner = upstream @ down
            of_gate = _of_gate(torch.mul(inner, up, out=product), gate)
            of_up = activated.mul_(inner)
        return of_gate, of_up, of_down, None


def _of_gate(upstream: Tensor, gate: Tensor) -> Tensor:
    """Gradient through silu, over ``upstream`` itself."""
    return torch.ops.aten.silu_backward.grad_input(upstream, gate, grad_input=upstream)  # type: ignore[no-any-return]


def swiglu(gate: Tensor, up: Tensor, *, compiled: bool = False) -> Tensor:
    """Return ``silu(gate) * up``; all of one shape and type. ``compiled``: by one kernel, where that takes them."""
    compiled = compiled and gate.shape == up.shape and elementwise.takes(gate, up)
    result: Tensor = _SwiGlu.apply(gate, up, compiled)  # type: ignore[no-untyped-call]
    return result


def swiglu_down(gate: Tensor, up: Tensor, down: Tensor, *, compiled: bool = False) -> Tensor:
    """Return ``(silu(gate) * up) @ down.T``. Shapes: gate and up ... x I, down D x I; returns ... x D.

    ``compiled``: silu and the product by one kernel, where that takes them.
    """
    compiled = compiled and gate.shape == up.shape and down.dtype == gate.dtype and elementwise.takes(gate, up)
    result: Tensor = _SwiGluDown.apply(gate, up, down, compiled)  # type: ignore[no-untyped-call]
    return result
