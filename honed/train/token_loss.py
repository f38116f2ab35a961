"""Cross entropy at supervised positions only, in chunks: the full T x V logits never exist.

The gradient with respect to the logits is (softmax - one-hot) x weight, known as soon as the loss is; so each
chunk's share of the gradients is computed in the forward pass and its logits are dropped at once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK_BYTES = 64 * 1024 * 1024
"""Bytes of fp32 logits held at a time, at most."""


class _WeightedNll(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_head = torch.zeros_like(head, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        losses = torch.empty_like(weights)
        size = chunk_size(head.shape[0])
        for start in range(0, hidden.shape[0], size):
            part = slice(start, start + size)
            logits = (hidden[part] @ head.T).float()
            losses[part] = _chunk(logits, targets[part], weights[part])  # logits become their gradient, in place
            if grad_hidden is not None:
                gradient = logits.to(hidden.dtype)
                grad_hidden[part] = gradient @ head
                if grad_head is not None:
                    grad_head.addmm_(gradient.T, hidden[part]) if grad_head.dtype == hidden.dtype else grad_head.add_(
                        gradient.T @ hidden[part]
                    )
        ctx.save_for_backward(grad_hidden, grad_head)
        ctx.head_dtype = head.dtype
        return losses

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        # The loss is always summed, so every element has the same upstream gradient.
        upstream = grads[0][0]
        grad_hidden, grad_head = ctx.saved_tensors
        return (
            grad_hidden * upstream if grad_hidden is not None else None,
            (grad_head.mul_(upstream)).to(ctx.head_dtype) if grad_head is not None else None,
            None,
            None,
        )


def _chunk(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted losses (P,); ``logits`` (P x V) is overwritten by its gradient."""
    peak = logits.max(1, keepdim=True).values
    logits -= peak
    index = targets[:, None]
    right = logits.gather(1, index)
    logits.exp_()
    total = logits.sum(1, keepdim=True)
    losses = (total.log() - right)[:, 0] * weights
    logits *= weights[:, None] / total
    logits.scatter_add_(1, index, -weights[:, None])
    return losses


def weighted_nll(hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the sum of weights[p] x -log softmax(hidden[p] . head)[targets[p]] as a scalar.

    Shapes: hidden P x D, head V x D (the same dtype), targets and weights (P,), weights fp32.
    """
    losses: Tensor = _WeightedNll.apply(hidden, head, targets, weights)  # type: ignore[no-untyped-call]
    return losses.sum()


def chunk_size(vocabulary: int) -> int:
    """Return how many positions' logits fit into ``CHUNK_BYTES``."""
    return max(1, CHUNK_BYTES // (4 * vocabulary))
