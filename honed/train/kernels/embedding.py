"""Token embeddings whose gradient is added row by row to where it is summed (``room``).

torch makes a matrix of vocabulary times width for it, nearly all zeros, which is then added to the head's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from honed.train.kernels import room


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.weight, ctx.padding = weight, padding
        return functional.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor | None, None]:
        (upstream,) = grads
        (ids,) = ctx.saved_tensors
        weight: Tensor = ctx.weight
        if room.of(weight) is None:
            dense = torch.ops.aten.embedding_dense_backward
            return None, dense(upstream, ids, weight.shape[0], ctx.padding, False), None
        ids, upstream = ids.flatten(), upstream.flatten(0, -2)
        if ctx.padding >= 0:
            real = ids != ctx.padding
            ids, upstream = ids[real], upstream[real]
        room.rows(weight, ids, upstream)
        return None, None, None


def embedding(ids: Tensor, weight: Tensor, padding: int | None = None) -> Tensor:
    """Return ``weight[ids]``; row ``padding`` gets no gradient. Shapes: ids ..., weight V x D; returns ... x D."""
    number = -1 if padding is None else padding
    result: Tensor = _Embedding.apply(ids, weight, number)  # type: ignore[no-untyped-call]
    return result
