"""RMSNorm whose backward pass needs its input and one number a row, and no tensor more.

Zhang & Sennrich 2019, "Root Mean Square Layer Normalization". autograd over the plain formula keeps the normalised
rows as well, and the squares for as long as the forward pass lasts. A norm's output knows what it was made of, so that
what comes behind it needn't keep it either (``linear``, ``low_rank``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from honed.train import heap
from honed.train.kernels import elementwise

_NAME = "honed_source"


class Source(NamedTuple):
    """What a norm's output is made of: its input ... x D, 1 / root mean square of each row (... x 1), weight (D,).

    ``compiled``: by one kernel.
    """

    x: Tensor
    inverse: Tensor
    weight: Tensor
    compiled: bool = False


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float, compiled: bool) -> tuple[Tensor, Tensor]:
        ctx.compiled = compiled
        if compiled:
            out, inverse = elementwise.by(x).norm(x, weight, epsilon)
        else:
            wide = torch.promote_types(x.dtype, torch.float32)
            square = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide).square_()
            inverse = square.div_(x.shape[-1]).add_(epsilon).rsqrt_()
            out = again(Source(x, inverse, weight))
        ctx.save_for_backward(x, weight, inverse)
        ctx.mark_non_differentiable(inverse)
        return out, inverse

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        upstream = grads[0]
        x, weight, inverse = ctx.saved_tensors
        learns = ctx.needs_input_grad[1]
        if ctx.compiled:
            return *elementwise.by(x).norm_back(x, weight, inverse, upstream, learns=learns), None, None
        normal = x * inverse  # in fp32 at least, whatever x is
        product = normal * upstream
        grad_weight = None
        if learns:
            grad_weight = product.flatten(0, -2).sum(0).to(weight.dtype)
        wide = weight.to(product.dtype)
        mean = (product @ wide).unsqueeze_(-1).div_(x.shape[-1])
        grad = torch.mul(upstream, wide, out=product)
        grad.addcmul_(normal, mean, value=-1).mul_(inverse)
        return grad.to(x.dtype), grad_weight, None, None


def rms_norm(x: Tensor, weight: Tensor, epsilon: float, *, compiled: bool = False) -> Tensor:
    """Return ``weight * x / sqrt(mean(x^2) + epsilon)`` over the last dimension, in ``x``'s type, computed in fp32.

    Shapes: x ... x D, weight (D,) of the same type. ``compiled``: by one kernel, where that takes them.
    """
    compiled = compiled and weight.shape == x.shape[-1:] and elementwise.takes(x, weight)
    result: Tensor
    result, inverse = _RmsNorm.apply(x, weight, epsilon, compiled)  # type: ignore[no-untyped-call]
    if result.requires_grad:
        setattr(result, _NAME, (Source(x.detach(), inverse, weight.detach(), compiled), result._version))
    return result


def source(x: Tensor) -> Source | None:
    """What ``x`` was made of, if it is a norm's output itself, which nothing has changed in its place since."""
    found, version = getattr(x, _NAME, (None, 0))
    return found if found is not None and version == x._version else None


def again(made: Source) -> Tensor:
    """Return the norm's output, the same to the last bit."""
    if made.compiled:
        return elementwise.by(made.x).norm_again(made.x, made.weight, made.inverse)
    if made.x.dtype == made.inverse.dtype:
        room = heap.brief(made.x.shape, made.x)
        return torch.mul(made.x, made.inverse, out=room).mul_(made.weight)
    normal: Tensor = made.x * made.inverse
    return normal.to(made.x.dtype).mul_(made.weight)


def to_keep(x: Tensor, made: Source | None) -> tuple[Tensor, ...]:
    """Return what ``restored`` needs for ``x``: the first three of what it was made of, or itself."""
    return (x,) if made is None else made[:3]


def restored(kept: Sequence[Tensor], *, compiled: bool) -> Tensor:
    """Return the tensor of which ``to_keep`` told what to keep."""
    if len(kept) == 1:
        return kept[0]
    before, inverse, weight = kept
    return again(Source(before, inverse, weight, compiled))
