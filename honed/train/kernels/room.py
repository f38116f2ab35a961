"""Gradients of matrices added straight to where they are summed, so that none of them is made apart and then added.

autograd makes the gradient of each use of a weight as a tensor of its own, and adds it to ``.grad`` afterwards: two
more passes over memory the size of the weight, every pass of a step, and for a tied head and embedding two matrices of
vocabulary times width beside the one that both belong to. A weight with a room has its products written there at once.

A room lasts as long as its optimizer. A weight without one (a share of FSDP's, a 16-bit weight whose gradient is
summed in fp32 elsewhere, anything on a GPU) gets its gradient from autograd as ever.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_NAME = "honed_room"


def give(parameters: Iterable[nn.Parameter]) -> None:
    """Give each matrix among ``parameters`` that can use one a room. Nothing of it is touched before its first use."""
    for parameter in parameters:
        if type(parameter) is nn.Parameter and parameter.ndim == 2 and parameter.device.type == "cpu":
            setattr(parameter, _NAME, torch.empty_like(parameter, requires_grad=False))


def has_room(weight: Tensor) -> bool:
    """Whether gradients of ``weight`` are to be added here, and not by autograd."""
    return getattr(weight, _NAME, None) is not None


def product(weight: Tensor, left: Tensor, right: Tensor, scale: float = 1.0) -> Tensor | None:
    """Return ``scale * left.T @ right``, a gradient of ``weight``; None if it has been added to ``weight.grad``.

    Shapes: left T x out, right T x in, weight out x in, all of one type.
    """
    if not has_room(weight):
        return left.T @ right if scale == 1.0 else (left.T @ right).mul_(scale)
    grad, fresh = _begun(weight)
    grad.addmm_(left.T, right, beta=0 if fresh else 1, alpha=scale)  # beta 0: what was there isn't read
    return None


def rows(weight: Tensor, ids: Tensor, upstream: Tensor) -> None:
    """Add row k of ``upstream`` (T x in) to row ``ids[k]`` of the gradient of ``weight``, which has a room."""
    grad, fresh = _begun(weight)
    if fresh:
        grad.zero_()
    grad.index_add_(0, ids, upstream)


def _begun(weight: Tensor) -> tuple[Tensor, bool]:
    """The gradient of ``weight`` in this step, and whether this is its first addend (it holds anything then)."""
    if weight.grad is not None:
        return weight.grad, False
    room: Tensor = getattr(weight, _NAME)
    weight.grad = room
    return room, True
