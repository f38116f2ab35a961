"""The attention path in C for CPUs, and whether it is used: only where its compiled kernel agrees with plain torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from honed.train import attention
from honed.train.attention import FUSED, PLAIN, Manner, Segments
from honed.train.kernels import native

NATIVE = "honed_native"

_COMPARED = Segments((50, 3, 70, 20, 66), (-1, 0, 1, 0, -1))
"""A small forest with segments longer and shorter than the kernel's blocks."""

_APART = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
"""How far from plain torch in fp32, relative to the largest number."""


def by_native(q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float, manner: Manner = PLAIN) -> Tensor:
    """Our kernel in C; torch's for what it doesn't take."""
    if not manner.plain or not native.takes(q, v):
        return attention.by_fused(q, k, v, segments, scale, manner)
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
    q, k, v = (
        torch.randn(1, count, sum(_COMPARED.lengths), width, generator=generator).to(dtype)
        for count in (heads, groups, groups)
    )
    if not native.takes(q, v):
        return FUSED, ""
    if not attention.agrees(by_native, q, k, v, _COMPARED, _APART[dtype]):
        return FUSED, "attention by torch's kernel: ours, as this C compiler made it, doesn't agree with plain torch"
    attention.register({NATIVE: by_native})
    return NATIVE, ""
