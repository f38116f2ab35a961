"""Gradients of matrices added straight to where they are summed, so that none of them is made apart and then added.

autograd makes the gradient of each use of a weight as a tensor of its own, and adds it to ``.grad`` afterwards: two
more passes over memory the size of the weight, every pass of a step, and for a tied head and embedding two matrices of
vocabulary times width beside the one that both belong to. A weight with a room has its products written there at once;
those of a 16-bit weight go to its fp32 master, a few rows at a time, so that no whole matrix is made in 16 bits.

A room lasts as long as its optimizer. A weight without one (a share of FSDP's, anything on a GPU) gets its gradient
from autograd as ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

_NAME = "honed_room"
_ROWS = 2048
"""Rows of a 16-bit product that are made at a time: they are added to the master's before they leave the cache."""


class Room(NamedTuple):
    """Memory for the gradient of ``master``: the weight itself, or the fp32 one that takes its updates."""

    master: Tensor
    memory: Tensor

    def begun(self) -> tuple[Tensor, bool]:
        """Return the gradient of this step, and whether this is its first addend (it holds anything then)."""
        if self.master.grad is not None:
            return self.master.grad, False
        self.master.grad = self.memory
        return self.memory, True


def give(pairs: Iterable[tuple[nn.Parameter, Tensor]]) -> None:
    """Give each matrix that can use one a room; it comes with its master. Nothing of it is touched before its use."""
    for parameter, master in pairs:
        if type(parameter) is nn.Parameter and parameter.ndim == 2 and parameter.device.type == "cpu":
            setattr(parameter, _NAME, Room(master, torch.empty_like(master, requires_grad=False)))


def of(weight: Tensor) -> Room | None:
    """The room of a weight, whose gradients are to be added there and not by autograd."""
    return getattr(weight, _NAME, None)


def product(weight: Tensor, left: Tensor, right: Tensor, scale: float = 1.0) -> Tensor | None:
    """Return ``scale * left.T @ right``, a gradient of ``weight``; None if it has been added to its room.

    Shapes: left T x out, right T x in, weight out x in, all of one type.
    """
    room = of(weight)
    if room is None:
        return left.T @ right if scale == 1.0 else (left.T @ right).mul_(scale)
    grad, fresh = room.begun()
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
    room = of(weight)
    assert room is not None
    grad, fresh = room.begun()
    if fresh:
        grad.zero_()
    grad.index_add_(0, ids, upstream.to(grad.dtype))
