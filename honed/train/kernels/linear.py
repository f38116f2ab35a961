"""Linear layers side by side on one input, which is computed again from before its norm where that is cheap.

autograd keeps the input of a linear layer for the weight's gradient. Behind an RMSNorm that input is one product of
what the norm keeps anyway (its own input and one number a row), so it needn't be kept: two tensors of the model's
width fewer a layer. Gradients go where they are summed at once (``room``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from honed.train import heap
from honed.train.kernels import norm, room

_Kind = TypeVar("_Kind", bound=nn.Module)


class _Linears(torch.autograd.Function):
    """``pairs``: weight and bias (or None) of each layer in turn."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, source: norm.Source | None, *pairs: Tensor | None) -> tuple[Tensor, ...]:
        weights, biases = pairs[::2], pairs[1::2]
        learn = any(ctx.needs_input_grad[2::2])
        kept = norm.to_keep(x, source) if learn else ()
        ctx.save_for_backward(*weights, *kept)
        ctx.compiled = source is not None and source.compiled
        ctx.weights = weights  # themselves: what is saved may come back as another tensor, without its room
        return tuple(_linear(x, w, b) for w, b in zip(weights, biases, strict=True) if w is not None)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        count = len(ctx.weights)
        every = ctx.saved_tensors  # once: layers that are computed again give each tensor once
        saved, kept = every[:count], every[count:]
        flat = [upstream.flatten(0, -2) for upstream in grads]
        x = norm.restored(kept, compiled=ctx.compiled).flatten(0, -2) if kept else None
        found: list[Tensor | None] = []
        for number, (upstream, weight) in enumerate(zip(flat, ctx.weights, strict=True)):
            learns, shifts = ctx.needs_input_grad[2 + 2 * number : 4 + 2 * number]
            found += [
                room.product(weight, upstream, x) if learns and x is not None else None,
                upstream.sum(0) if shifts else None,
            ]
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = flat[0] @ saved[0]
            for upstream, weight in zip(flat[1:], saved[1:], strict=True):
                of_x.addmm_(upstream, weight)
            of_x = of_x.view(*grads[0].shape[:-1], of_x.shape[-1])
        return of_x, None, *found


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if bias is not None:
        return functional.linear(x, weight, bias)
    out = heap.brief((*x.shape[:-1], weight.shape[0]), x, turn=4)
    torch.mm(x.flatten(0, -2), weight.T, out=out.flatten(0, -2))
    return out


def linears(x: Tensor, layers: Sequence[nn.Module]) -> tuple[Tensor, ...]:
    """Return each plain linear layer's output for ``x`` (... x in)."""
    pairs = [parameter for layer in layers for parameter in (layer.weight, layer.bias)]
    result: tuple[Tensor, ...] = _Linears.apply(x, norm.source(x), *pairs)  # type: ignore[no-untyped-call]
    return result


def plain(layer: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether a layer is a linear one and nothing else."""
    return unhooked(layer, nn.Linear)


def unhooked(layer: nn.Module, kind: type[_Kind]) -> TypeGuard[_Kind]:
    """Whether a layer is of this kind, with no hook that should see its input or output."""
    return type(layer) is kind and not layer._forward_hooks and not layer._forward_pre_hooks
