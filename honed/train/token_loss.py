"""Cross entropy at supervised positions only, in chunks: the full T x V logits never exist.

The gradient with respect to the logits is (softmax - one-hot) x weight. Where the loss is their plain sum
(``weighted_nll``), it is known as soon as the loss is: each chunk's share of the gradients is computed in the forward
pass and its logits are dropped at once; the head's goes straight to where it is summed, if it is known by then what the
loss will be multiplied by. Where what follows decides each token's weight (``token_logps``), a frozen
head allows the same, scaled afterwards; a head that learns has its chunks computed again in the backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from honed.train.kernels import room

CHUNK_BYTES = 64 * 1024 * 1024
"""Bytes of logits held at a time, at most, reckoned in fp32."""

_CACHE_BYTES = 8 * 1024 * 1024
"""Bytes of fp32 logits that a CPU's caches are likely to hold between one pass over them and the next."""


class _WeightedNll(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0913 - the operands, and what is known of the head and of what follows
        ctx: Any,
        hidden: Tensor,
        head: Tensor,
        targets: Tensor,
        weights: Tensor,
        factor: float | None,
        cap: float | None,
    ) -> Tensor:
        learns, head_learns = ctx.needs_input_grad[:2]
        at_once = factor is not None and head_learns and room.of(head) is not None
        grad_hidden, grad_head = _gradients(hidden, head, (learns, head_learns and not at_once))
        losses = _sweep(hidden, head, targets, weights, grad_hidden, grad_head, factor if at_once else None, cap)
        ctx.save_for_backward(grad_hidden, grad_head)
        ctx.head_dtype, ctx.factor = head.dtype, factor if at_once else None
        return losses

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None, None]:
        # The loss is always summed, so every element has the same upstream gradient.
        upstream = grads[0][0]
        if ctx.factor is not None:
            assert math.isclose(float(upstream), ctx.factor, rel_tol=1e-6), (
                "the head's gradient is summed with it already"
            )
        grad_hidden, grad_head = ctx.saved_tensors
        return (
            grad_hidden * upstream if grad_hidden is not None else None,
            (grad_head.mul_(upstream)).to(ctx.head_dtype) if grad_head is not None else None,
            None,
            None,
            None,
            None,
        )


class _TokenNll(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, cap: float | None) -> Tensor:
        learns, head_learns = ctx.needs_input_grad[:2]
        ones = torch.ones(len(targets), dtype=_wide(hidden), device=hidden.device)
        each = torch.empty_like(hidden) if learns and not head_learns else None
        losses = _sweep(hidden, head, targets, ones, each, None, cap=cap)
        ctx.cap = cap
        ctx.save_for_backward(*((hidden, head, targets) if head_learns else (each,)))
        return losses

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (upstream,) = grads
        if len(ctx.saved_tensors) == 1:
            (each,) = ctx.saved_tensors
            return (each * upstream[:, None]).to(each.dtype), None, None, None
        hidden, head, targets = ctx.saved_tensors
        grad_hidden, grad_head = _gradients(hidden, head, ctx.needs_input_grad)
        _sweep(hidden, head, targets, upstream.contiguous(), grad_hidden, grad_head, cap=ctx.cap)
        return grad_hidden, grad_head.to(head.dtype) if grad_head is not None else None, None, None


def _gradients(hidden: Tensor, head: Tensor, needed: tuple[bool, ...]) -> tuple[Tensor | None, Tensor | None]:
    """Room for the gradients that are needed; the head's is a sum over all positions, so it is fp32 at least."""
    return (
        torch.empty_like(hidden) if needed[0] else None,
        torch.zeros_like(head, dtype=_wide(head)) if needed[1] else None,
    )


def _sweep(  # noqa: PLR0913 - the operands, and where their gradients go
    hidden: Tensor,
    head: Tensor,
    targets: Tensor,
    weights: Tensor,
    grad_hidden: Tensor | None,
    grad_head: Tensor | None,
    factor: float | None = None,
    cap: float | None = None,
) -> Tensor:
    """Return the weighted losses (P,), chunk by chunk, and fill in the gradients of their sum where there is room.

    With a ``factor``, the head's is multiplied by it and added to ``head.grad``.
    """
    losses = torch.empty_like(weights)
    # Chunks of about one size: a product of the few rows that are left over would still read the whole head.
    chunks = math.ceil(hidden.shape[0] / chunk_size(head.shape[0]))
    for part in _even(hidden.shape[0], chunks):
        logits = hidden[part] @ head.T
        losses[part] = _in_cache(logits, targets[part], weights[part], cap)  # logits become their gradient, in place
        if grad_hidden is not None or grad_head is not None or factor is not None:
            gradient = logits
            if grad_hidden is not None:
                grad_hidden[part] = gradient @ head
            if factor is not None:
                room.product(head, gradient, hidden[part], factor)
            elif grad_head is not None and grad_head.dtype == hidden.dtype:
                grad_head.addmm_(gradient.T, hidden[part])
            elif grad_head is not None:
                grad_head.add_(gradient.T @ hidden[part])
            del gradient
        del logits  # before the next ones are made
    return losses


def _in_cache(logits: Tensor, targets: Tensor, weights: Tensor, cap: float | None) -> Tensor:
    """Return what ``_chunk`` does, a few rows at a time, each time in fp32 at least: a softmax goes over them often."""
    losses = torch.empty_like(weights)
    rows = max(1, _CACHE_BYTES // (4 * logits.shape[1])) if logits.device.type == "cpu" else logits.shape[0]
    copies = (logits.dtype != _wide(logits)) + (cap is not None)  # in fp32, and of their slopes
    rows = max(1, rows >> copies)
    for start in range(0, logits.shape[0], rows):
        few = slice(start, start + rows)
        wide = logits[few].to(_wide(logits))  # the same memory if it is wide already
        losses[few] = _chunk(wide, targets[few], weights[few], cap)
        if wide.dtype != logits.dtype:
            logits[few] = wide
    return losses


def _even(length: int, parts: int) -> Iterator[slice]:
    for number in range(parts):
        yield slice(number * length // parts, (number + 1) * length // parts)


def _chunk(logits: Tensor, targets: Tensor, weights: Tensor, cap: float | None) -> Tensor:
    """Return the weighted losses (P,); ``logits`` (P x V) is overwritten by its gradient."""
    slope = None
    if cap is not None:
        slope = 1 - logits.div_(cap).tanh_().square()  # of cap x tanh(logits / cap)
        logits *= cap
    logits -= logits.amax(1, keepdim=True)  # amax: max looks for the places too, five times as long
    index = targets[:, None]
    right = logits.gather(1, index)
    logits.exp_()
    total = logits.sum(1, keepdim=True)
    losses = (total.log() - right)[:, 0] * weights
    logits *= weights[:, None] / total
    logits.scatter_add_(1, index, -weights[:, None])
    if slope is not None:
        logits *= slope
    return losses


def weighted_nll(
    hidden: Tensor,
    head: Tensor,
    targets: Tensor,
    weights: Tensor,
    factor: float | None = None,
    cap: float | None = None,
) -> Tensor:
    """Return the sum of weights[p] x -log softmax(hidden[p] . head)[targets[p]] as a scalar.

    Shapes: hidden P x D, head V x D (the same dtype), targets and weights (P,), weights fp32. With a ``cap``, logits
    go through cap x tanh(logits / cap) before the softmax. ``factor`` says what the result's gradient will be, where
    that is known: a head with a room (``kernels.room``) has its own added to ``.grad``
    in this call then, so that the backward pass must follow.
    """
    if not torch.is_grad_enabled():  # a leaf asks for its gradient even then, and the head's is the size of the head
        hidden, head = hidden.detach(), head.detach()
    losses: Tensor = _WeightedNll.apply(hidden, head, targets, weights, factor, cap)  # type: ignore[no-untyped-call]
    return losses.sum()


def token_logps(hidden: Tensor, head: Tensor, targets: Tensor, cap: float | None = None) -> Tensor:
    """Return log softmax(hidden[p] . head)[targets[p]] for every p, shape (P,), fp32 at least.

    Anything may be made of them: the gradients of ``hidden`` and ``head`` are exact for any upstream gradient. A head
    that learns costs a fourth product P x D x V, in the backward pass. Shapes as in ``weighted_nll``.
    """
    losses: Tensor = _TokenNll.apply(hidden, head, targets, cap)  # type: ignore[no-untyped-call]
    return -losses


def chunk_size(vocabulary: int) -> int:
    """Return how many positions' logits fit into ``CHUNK_BYTES``."""
    return max(1, CHUNK_BYTES // (4 * vocabulary))


def _wide(tensor: Tensor) -> torch.dtype:
    """The type that losses are computed in: fp32, or fp64 for fp64."""
    return torch.promote_types(tensor.dtype, torch.float32)
