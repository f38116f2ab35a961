"""Gradients of matrices added straight to where they are summed, so that none of them is made apart and then added.

autograd makes the gradient of each use of a weight as a tensor of its own, and adds it to ``.grad`` afterwards: two
more passes over memory the size of the weight, every pass of a step, and for a tied head and embedding two matrices of
vocabulary times width beside the one that both belong to. A weight with a room has its products written there at once;
those of a 16-bit weight go to its fp32 master, a few rows at a time, so that no whole matrix is made in 16 bits.

The memory of a gradient is asked for when its first addend is there, and dropped after the step: it takes the place of
activations that the backward pass is done with. A room lasts as long as its weight. A weight without one (a share of
FSDP's, anything on a GPU) gets its gradient from autograd as ever.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_NAME = "honed_room"
_ROWS = 2048
"""Rows of a 16-bit product that are made at a time: they are added to the master's before they leave the cache."""


def give(pairs: Iterable[tuple[nn.Parameter, Tensor]]) -> None:
    """Give each matrix that can use one a room; it comes with its master: itself, or the fp32 one that is updated."""
    for parameter, master in pairs:
        if type(parameter) is nn.Parameter and parameter.ndim == 2 and parameter.device.type == "cpu":
            setattr(parameter, _NAME, master)


def of(weight: Tensor) -> Tensor | None:
    """The room of a weight: its master, to whose ``.grad`` gradients are to be added here and not by autograd."""
    return getattr(weight, _NAME, None)


def _begun(master: Tensor) -> tuple[Tensor, bool]:
    """Return the gradient of this step, and whether this is its first addend (it holds anything then)."""
    if master.grad is not None:
        return master.grad, False
    master.grad = torch.empty_like(master, requires_grad=False)
    return master.grad, True


def product(weight: Tensor, left: Tensor, right: Tensor, scale: float = 1.0) -> Tensor | None:
    """Return ``scale * left.T @ right``, a gradient of ``weight``; None if it has been added to its room.

    Shapes: left T x out, right T x in, weight out x in, all of one type.
    """
    master = of(weight)
    if master is None:
        return left.T @ right if scale == 1.0 else (left.T @ right).mul_(scale)
    grad, fresh = _begun(master)
    if grad.dtype == left.dtype:
        grad.addmm_(left.T, right, beta=0 if fresh else 1, alpha=scale)  # beta 0: what was there isn't read
        return None
    for start in range(0, weight.shape[0], _ROWS):
        part = slice(start, start + _ROWS)
        made = left[:, part].T @ right
        if fresh:
            grad[part].copy_(made)
            if scale != 1.0:
                grad[part].mul_(scale)
        else:
            grad[part].add_(made, alpha=scale)
    return None


def rows(weight: Tensor, ids: Tensor, upstream: Tensor) -> None:
    """Add row k of ``upstream`` (T x in) to row ``ids[k]`` of the gradient of ``weight``, which has a room."""
    master = of(weight)
    assert master is not None
    grad, fresh = _begun(master)
    if fresh:
        grad.zero_()
    grad.index_add_(0, ids, upstream.to(grad.dtype))
