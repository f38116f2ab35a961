"""The attention path in C for CPUs, and whether it is used: only where its compiled kernel agrees with plain torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from honed.models import heads
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

    ``config`` is the model's text configuration. Where layers differ in their heads, ours is that of those it takes.
    """
    if why := native.why_not():
        return FUSED, f"attention by torch's kernel: {why}; with gcc installed, training on a CPU is faster"
    generator = torch.Generator().manual_seed(0)

    def drawn(kind: heads.Heads) -> list[Tensor]:
        counts = (kind.queries, kind.keys, kind.keys)
        shapes = [(1, count, sum(_COMPARED.lengths), kind.width) for count in counts]
        return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]

    taken = [(q, k, v) for q, k, v in map(drawn, heads.kinds(config)) if native.takes(q, v)]
    if not taken:
        return FUSED, ""
    if not all(attention.agrees(by_native, *some, _COMPARED, _APART[dtype]) for some in taken):
        return FUSED, "attention by torch's kernel: ours, as this C compiler made it, doesn't agree with plain torch"
    attention.register({NATIVE: by_native})
    return NATIVE, ""
