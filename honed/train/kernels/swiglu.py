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
    """The product alone: whatever comes after it keeps what it needs."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, compiled: bool) -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.compiled = compiled
        return product(gate, up, compiled=compiled)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        gate, up = ctx.saved_tensors
        of_gate, of_up, _ = back(gate, up, grads[0], compiled=ctx.compiled)
        return of_gate, of_up, None


class _SwiGluDown(torch.autograd.Function):
    """The product and the matrix that takes it back to the model's width, so that the product needn't be kept."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, down: Tensor, compiled: bool) -> Tensor:
        ctx.save_for_backward(gate, up, down)
        ctx.weight, ctx.compiled = down, compiled
        return functional.linear(product(gate, up, compiled=compiled, brief=True), down)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        (upstream,) = grads
        gate, up, down = ctx.saved_tensors
        learns = ctx.needs_input_grad[2]
        of_gate = of_up = of_down = made = None
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            inner = upstream @ down
            of_gate, of_up, made = back(gate, up, inner, made=learns, spare=True, compiled=ctx.compiled)
        elif learns:
            made = product(gate, up, compiled=ctx.compiled, brief=True)
        if made is not None:
            of_down = room.product(ctx.weight, upstream.flatten(0, -2), made.flatten(0, -2))
        return of_gate, of_up, of_down, None


def product(gate: Tensor, up: Tensor, *, compiled: bool, brief: bool = False) -> Tensor:
    """Return ``silu(gate) * up``, of which autograd knows nothing. ``brief``: it won't be kept."""
    if compiled:
        return elementwise.by(gate).swiglu(gate, up, brief=brief)
    return functional.silu(gate).mul_(up)


def back(
    gate: Tensor, up: Tensor, upstream: Tensor, *, compiled: bool, made: bool = False, spare: bool = False
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the gradients of gate and up, and with ``made`` the product itself, which won't be kept.

    ``spare``: nobody needs ``upstream`` any more, so that its place may be taken.
    """
    if compiled:
        return elementwise.by(gate).swiglu_back(gate, up, upstream, product=made, spare=spare)
    activated = functional.silu(gate)
    whole = activated * up if made else None
    of_up = activated.mul_(upstream)
    return _of_gate(upstream.mul_(up) if spare else upstream * up, gate), of_up, whole


def _of_gate(upstream: Tensor, gate: Tensor) -> Tensor:
    """Gradient through silu, over ``upstream`` itself."""
    return torch.ops.aten.silu_backward.grad_input(upstream, gate, grad_input=upstream)  # type: ignore[no-any-return]


def swiglu(gate: Tensor, up: Tensor, *, compiled: bool = False) -> Tensor:
    """Return ``silu(gate) * up``; all of one shape and type. ``compiled``: by one kernel, where that takes them."""
    compiled = compiled and takes(gate, up)
    result: Tensor = _SwiGlu.apply(gate, up, compiled)  # type: ignore[no-untyped-call]
    return result


def swiglu_down(gate: Tensor, up: Tensor, down: Tensor, *, compiled: bool = False) -> Tensor:
    """Return ``(silu(gate) * up) @ down.T``. Shapes: gate and up ... x I, down D x I; returns ... x D.

    ``compiled``: silu and the product by one kernel, where that takes them.
    """
    compiled = compiled and down.dtype == gate.dtype and takes(gate, up)
    result: Tensor = _SwiGluDown.apply(gate, up, down, compiled)  # type: ignore[no-untyped-call]
    return result


def takes(gate: Tensor, up: Tensor) -> bool:
    """Whether one kernel computes the product of these, where there is one."""
    return gate.shape == up.shape and elementwise.takes(gate, up)
