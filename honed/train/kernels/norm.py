"""RMSNorm whose backward pass needs its input and one number a row, and no tensor more.

Zhang & Sennrich 2019, "Root Mean Square Layer Normalization". autograd over the plain formula keeps the normalised
rows as well, and the squares for as long as the forward pass lasts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide).square_()
        inverse = square.div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        normal: Tensor = x * inverse
        return normal.to(x.dtype).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        (upstream,) = grads
        x, weight, inverse = ctx.saved_tensors
        normal = x * inverse  # in fp32 at least, whatever x is
        product = normal * upstream
        grad_weight = None
        if ctx.needs_input_grad[1]:
            grad_weight = product.flatten(0, -2).sum(0).to(weight.dtype)
        wide = weight.to(product.dtype)
        mean = (product @ wide).unsqueeze_(-1).div_(x.shape[-1])
        grad = torch.mul(upstream, wide, out=product)
        grad.addcmul_(normal, mean, value=-1).mul_(inverse)
        return grad.to(x.dtype), grad_weight, None


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Return ``weight * x / sqrt(mean(x^2) + epsilon)`` over the last dimension, in ``x``'s type, computed in fp32.

    Shapes: x ... x D, weight (D,) of the same type.
    """
    result: Tensor = _RmsNorm.apply(x, weight, epsilon)  # type: ignore[no-untyped-call]
    return result
