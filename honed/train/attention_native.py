"""The attention path in C for CPUs, and whether it is used: only where its compiled kernel agrees with plain torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from honed.train import attention
from honed.train.attention import FUSED, Segments
from honed.train.kernels import native

NATIVE = "honed_native"

_COMPARED = Segments((50, 3, 70, 20, 66), (-1, 0, 1, 0, -1))
"""A small forest with segments longer and shorter than the kernel's blocks."""

_APART = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
"""How far from plain torch in fp32, relative to the largest number."""


def by_native(q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float) -> Tensor:
    """Our kernel in C; torch's for what it doesn't take."""
    if not native.takes(q):
        return attention.by_fused(q, k, v, segments, scale)
    out: Tensor = _NativeAttention.apply(q, k, v, segments, scale)  # type: ignore[no-untyped-call]
    return out


class _NativeAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float) -> Tensor:
        out, sums = native.forward(q, k, v, segments.spans, segments.parents, scale)
        ctx.save_for_backward(q, k, v, out, sums)
        ctx.segments, ctx.scale = segments, scale
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q, k, v, out, sums = ctx.saved_tensors
        spans, parents = ctx.segments.spans, ctx.segments.parents
        dq, dk, dv = native.backward(q, k, v, out, sums, grads[0], spans, parents, ctx.scale)
        return dq, dk, dv, None, None


def choose(config: Any, dtype: torch.dtype) -> tuple[str, str]:
    """Return the name of the path for a model on a CPU, and why it isn't ours if it isn't.

    ``config`` is the model's text configuration.
    """
    heads, groups = config.num_attention_heads, getattr(config, "num_key_value_heads", config.num_attention_heads)
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    if why := native.why_not():
        return FUSED, f"attention by torch's kernel: {why}; with gcc installed, training on a CPU is faster"
    generator = torch.Generator().manual_seed(0)
    start = [
        torch.randn(1, count, sum(_COMPARED.lengths), width, generator=generator).to(dtype)
        for count in (heads, groups, groups, heads)
    ]
    if not native.takes(start[0]):
        return FUSED, ""
    found, expected = _computed(by_native, start), _computed(attention.by_parts, [one.float() for one in start])
    same = all(
        float((one - other).abs().max()) <= _APART[dtype] * float(other.abs().max())
        for one, other in zip(found, expected, strict=True)
    )
    if not same:
        return (
            FUSED,
            "attention by torch's kernel: ours, as this C compiler made it, doesn't agree with plain torch",
        )
    attention.register({NATIVE: by_native})
    return NATIVE, ""


def _computed(path: attention.Path, start: list[Tensor]) -> list[Tensor]:
    q, k, v = (tensor.clone().requires_grad_() for tensor in start[:3])
    with torch.enable_grad():
        out = path(q, k, v, _COMPARED, start[0].shape[3] ** -0.5)
        gradients = torch.autograd.grad(out, (q, k, v), start[3])
    return [out.detach().float(), *(gradient.float() for gradient in gradients)]
