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
    def forward(ctx: Any, ids: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.weight = weight
        return functional.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor | None]:
        (upstream,) = grads
        (ids,) = ctx.saved_tensors
        weight: Tensor = ctx.weight
        if room.of(weight) is None:
            dense = torch.ops.aten.embedding_dense_backward
            return None, dense(upstream, ids, weight.shape[0], -1, False)
        room.rows(weight, ids.flatten(), upstream.flatten(0, -2))
        return None, None


def embedding(ids: Tensor, weight: Tensor) -> Tensor:
    """Return ``weight[ids]``. Shapes: ids ..., weight V x D; returns ... x D."""
    result: Tensor = _Embedding.apply(ids, weight)  # type: ignore[no-untyped-call]
    return result
