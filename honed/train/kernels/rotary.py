"""Rotary positions without the copies that gluing a rotated half to the other takes.

Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding"; the halves as GPT-NeoX lays them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from honed.train.kernels import elementwise, in_triton


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, compiled: bool) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.compiled = compiled
        if compiled:
            return in_triton.rotate(x.transpose(1, 2), cos.transpose(1, 2), sin.transpose(1, 2)).transpose(1, 2)
        half = x.shape[-1] // 2
        out = x * cos
        out[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
        out[..., half:].addcmul_(x[..., :half], sin[..., half:])
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (upstream,) = grads
        cos, sin = ctx.saved_tensors
        if ctx.compiled:
            lain = (upstream.transpose(1, 2), cos.transpose(1, 2), sin.transpose(1, 2))
            return in_triton.rotate(*lain, back=True).transpose(1, 2), None, None, None
        half = upstream.shape[-1] // 2
        grad = upstream * cos
        grad[..., :half].addcmul_(upstream[..., half:], sin[..., half:])
        grad[..., half:].addcmul_(upstream[..., :half], sin[..., :half], value=-1)
        return grad, None, None, None


def rotate(x: Tensor, cos: Tensor, sin: Tensor, *, compiled: bool = False) -> Tensor:
    """Return ``x * cos + (-x2, x1) * sin``, where x1 and x2 are the halves of each head.

    Shapes: x B x H x T x D; cos and sin B x T x D of the same type, which get no gradient. ``compiled``: by one kernel,
    on a GPU; C has none.
    """
    compiled = compiled and elementwise.by(x) is in_triton and elementwise.takes(cos, sin) and x.dtype == cos.dtype
    result: Tensor = _Rotate.apply(x, cos.unsqueeze(1), sin.unsqueeze(1), compiled)  # type: ignore[no-untyped-call]
    return result
