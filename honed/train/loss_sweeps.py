"""Losses and gradients of logits that never all exist: they are made in chunks, each dropped before the next is made.

On a CPU (``over_positions``) chunks are of positions, and what each adds to the head's gradient is added where that is
summed. A GPU would read and write a large vocabulary's gradient as often as there are chunks, and take longer for it
than for all products together (measured on an H200: 61 ms of the 112 for a head of 128,256 x 2,048). There
(``over_both``) a head that learns gets its gradient in a second sweep, over the vocabulary: its logits are computed
once more, and each part of the gradient is one product, written once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from honed.train.kernels import in_triton, room

CHUNK_BYTES = 64 * 1024 * 1024
"""Bytes of logits held at a time, at most, with what is made of them."""

_CACHE_BYTES = 8 * 1024 * 1024
"""Bytes of fp32 logits that a CPU's caches are likely to hold between one pass over them and the next."""

_LINE = 64
"""Columns of a part of the vocabulary are a multiple of it: a GPU's products want rows to begin at even places."""


def over_positions(  # noqa: PLR0913 - the operands, and where their gradients go
    hidden: Tensor,
    head: Tensor,
    targets: Tensor,
    weights: Tensor,
    grad_hidden: Tensor | None,
    grad_head: Tensor | None,
    cap: float | None,
    factor: float | None = None,
) -> Tensor:
    """Return the weighted losses (P,), chunk by chunk, and fill in the gradients of their sum where there is room.

    ``grad_head`` begins at 0. With a ``factor``, the head's is multiplied by it and added to ``head.grad``.
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


def over_both(  # noqa: PLR0913 - as above
    hidden: Tensor,
    head: Tensor,
    targets: Tensor,
    weights: Tensor,
    grad_hidden: Tensor | None,
    grad_head: Tensor | None,
    cap: float | None,
    *,
    compiled: bool,
) -> Tensor:
    """Return the weighted losses (P,) and fill in the gradients of their sum, all of them, where there is room.

    ``compiled``: by the kernels of ``in_triton``, which make nothing beside the logits.
    """
    losses, sums = torch.empty_like(weights), torch.empty_like(weights)
    places, vocabulary = hidden.shape[0], head.shape[0]
    each = hidden.itemsize if compiled else _bytes(hidden.dtype, cap)
    chunks = max(1, math.ceil(places / chunk_size(vocabulary, each)))
    of_losses: Callable[..., tuple[Tensor, Tensor]] = partial(_losses, cap=cap)
    of_gradients: Callable[..., None] = partial(_of_columns, cap=cap)
    if compiled:
        assert cap is None, "they have none"
        of_losses, of_gradients = in_triton.losses, in_triton.gradients
    for part in _even(places, chunks):
        logits = hidden[part] @ head.T
        losses[part], sums[part] = of_losses(logits, targets[part], weights[part])
        if grad_hidden is not None:
            torch.mm(logits, head, out=grad_hidden[part])
        if grad_head is not None and chunks == 1:
            torch.mm(logits.T, hidden, out=grad_head)
        del logits
    if grad_head is None or chunks == 1:
        return losses
    for part in _columns(places * each, vocabulary):
        logits = hidden @ head[part].T
        of_gradients(logits, sums, targets - part.start, weights)
        torch.mm(logits.T, hidden, out=grad_head[part])
        del logits
    return losses


def chunk_size(vocabulary: int, each: int = 4) -> int:
    """Return how many positions' logits, of so many bytes ``each``, fit into ``CHUNK_BYTES``; one at least."""
    return max(1, CHUNK_BYTES // (each * vocabulary))


def wide(tensor: Tensor) -> torch.dtype:
    """The type that losses are computed in: fp32, or fp64 for fp64."""
    return torch.promote_types(tensor.dtype, torch.float32)


def _bytes(dtype: torch.dtype, cap: float | None) -> int:
    """Bytes of a logit, with those of its wide copy and of its slope."""
    broad = torch.promote_types(dtype, torch.float32)
    return dtype.itemsize + broad.itemsize * ((broad != dtype) + (cap is not None))


def _columns(size: int, vocabulary: int) -> Iterator[slice]:
    """Parts of a vocabulary whose columns, of ``size`` bytes each, fit into ``CHUNK_BYTES``; in whole lines, if any."""
    most = max(1, CHUNK_BYTES // size)
    width = most // _LINE * _LINE or most
    for start in range(0, vocabulary, width):
        yield slice(start, min(vocabulary, start + width))


def _even(length: int, parts: int) -> Iterator[slice]:
    for number in range(parts):
        yield slice(number * length // parts, (number + 1) * length // parts)


def _in_cache(logits: Tensor, targets: Tensor, weights: Tensor, cap: float | None) -> Tensor:
    """Return what ``_losses`` does, a few rows at a time: a softmax goes over them often."""
    losses = torch.empty_like(weights)
    rows = max(1, _CACHE_BYTES // (4 * logits.shape[1]))
    copies = (logits.dtype != wide(logits)) + (cap is not None)  # in fp32, and of their slopes
    rows = max(1, rows >> copies)
    for start in range(0, logits.shape[0], rows):
        few = slice(start, start + rows)
        losses[few], _ = _losses(logits[few], targets[few], weights[few], cap)
    return losses


def _losses(logits: Tensor, targets: Tensor, weights: Tensor, cap: float | None) -> tuple[Tensor, Tensor]:
    """Return the weighted losses (P,) and the log-sum-exp of each row (P,); the logits become their gradient."""
    broad = logits.to(wide(logits))  # the same memory if it is wide already
    slope = _bend(broad, cap)
    top = broad.amax(1, keepdim=True)  # amax: max looks for the places too, five times as long
    broad -= top
    index = targets[:, None]
    right = broad.gather(1, index)
    broad.exp_()
    total = broad.sum(1, keepdim=True)
    log = total.log()
    losses = (log - right)[:, 0] * weights
    broad *= weights[:, None] / total
    broad.scatter_add_(1, index, -weights[:, None])
    _give(broad, slope, logits)
    return losses, (top + log)[:, 0]


def _of_columns(block: Tensor, sums: Tensor, targets: Tensor, weights: Tensor, cap: float | None) -> None:
    """Let a block of logits, P x some of the vocabulary, become its gradient, given each row's log-sum-exp.

    ``targets`` are places in the block; others, also below 0, are in none of it.
    """
    broad = block.to(wide(block))
    slope = _bend(broad, cap)
    broad -= sums[:, None]
    broad.exp_()
    broad *= weights[:, None]
    here = (targets >= 0) & (targets < block.shape[1])
    index = targets.clamp(0, block.shape[1] - 1)[:, None]
    broad.scatter_add_(1, index, torch.where(here, -weights, torch.zeros_like(weights))[:, None])
    _give(broad, slope, block)


def _bend(broad: Tensor, cap: float | None) -> Tensor | None:
    """Let logits go through cap x tanh(logits / cap), in place; return its slope."""
    if cap is None:
        return None
    slope = broad.div_(cap).tanh_().square().neg_().add_(1)
    broad *= cap
    return slope


def _give(broad: Tensor, slope: Tensor | None, logits: Tensor) -> None:
    """Put the gradient in the place of the logits."""
    if slope is not None:
        broad *= slope
    if broad.dtype != logits.dtype:
        logits.copy_(broad)
