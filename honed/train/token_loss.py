"""Cross entropy at supervised positions only, in chunks: the full T x V logits never exist.

The gradient with respect to the logits is (softmax - one-hot) x weight. Where the loss is their plain sum
(``weighted_nll``), it is known as soon as the loss is: each chunk's share of the gradients is computed in the forward
pass and its logits are dropped at once; the head's goes straight to where it is summed, if it is known by then what the
loss will be multiplied by. Where what follows decides each token's weight (``token_logps``), a frozen
head allows the same, scaled afterwards; a head that learns has its chunks computed again in the backward pass.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from honed.train.kernels import elementwise, in_triton, room
from honed.train.loss_sweeps import over_both, over_positions, wide


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
        compiled: bool,
    ) -> Tensor:
        learns, head_learns = ctx.needs_input_grad[:2]
        at_once = factor is not None and head_learns and room.of(head) is not None
        grad_hidden, grad_head = _gradients(hidden, head, (learns, head_learns and not at_once))
        given = hidden, head, targets, weights, grad_hidden, grad_head, cap
        if _sweeps_twice(head):
            losses = over_both(*given, compiled=compiled)
        else:
            losses = over_positions(*given, factor=factor if at_once else None)
        ctx.save_for_backward(grad_hidden, grad_head)
        ctx.head_dtype, ctx.factor = head.dtype, factor if at_once else None
        return losses

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None, None, None]:
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
            None,
        )


class _TokenNll(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, cap: float | None, compiled: bool) -> Tensor:
        learns, head_learns = ctx.needs_input_grad[:2]
        ones = torch.ones(len(targets), dtype=wide(hidden), device=hidden.device)
        each = torch.empty_like(hidden) if learns and not head_learns else None
        ctx.cap = cap
        ctx.sweep = partial(over_both, compiled=compiled) if _sweeps_twice(head) else over_positions
        losses: Tensor = ctx.sweep(hidden, head, targets, ones, each, None, cap)
        ctx.save_for_backward(*((hidden, head, targets) if head_learns else (each,)))
        return losses

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        (upstream,) = grads
        if len(ctx.saved_tensors) == 1:
            (each,) = ctx.saved_tensors
            return (each * upstream[:, None]).to(each.dtype), None, None, None, None
        hidden, head, targets = ctx.saved_tensors
        grad_hidden, grad_head = _gradients(hidden, head, ctx.needs_input_grad)
        ctx.sweep(hidden, head, targets, upstream.contiguous(), grad_hidden, grad_head, ctx.cap)
        return grad_hidden, grad_head.to(head.dtype) if grad_head is not None else None, None, None, None


def _gradients(hidden: Tensor, head: Tensor, needed: tuple[bool, ...]) -> tuple[Tensor | None, Tensor | None]:
    """Room for the gradients that are needed; the head's, where chunks are added up, is fp32 at least."""
    of_head = None
    if needed[1]:
        of_head = torch.empty_like(head) if _sweeps_twice(head) else torch.zeros_like(head, dtype=wide(head))
    return torch.empty_like(hidden) if needed[0] else None, of_head


def _sweeps_twice(head: Tensor) -> bool:
    return head.device.type != "cpu"


def weighted_nll(  # noqa: PLR0913 - the operands, and what is known of what follows
    hidden: Tensor,
    head: Tensor,
    targets: Tensor,
    weights: Tensor,
    factor: float | None = None,
    cap: float | None = None,
    *,
    compiled: bool = False,
) -> Tensor:
    """Return the sum of weights[p] x -log softmax(hidden[p] . head)[targets[p]] as a scalar.

    Shapes: hidden P x D, head V x D (the same dtype), targets and weights (P,), weights fp32. With a ``cap``, logits
    go through cap x tanh(logits / cap) before the softmax. ``factor`` says what the result's gradient will be, where
    that is known: a head with a room (``kernels.room``) has its own added to ``.grad``
    in this call then, so that the backward pass must follow. ``compiled``: by the kernels of ``in_triton``, where
    they take these.
    """
    if not torch.is_grad_enabled():  # a leaf asks for its gradient even then, and the head's is the size of the head
        hidden, head = hidden.detach(), head.detach()
    compiled = compiled and _takes(hidden, head, cap)
    losses: Tensor = _WeightedNll.apply(hidden, head, targets, weights, factor, cap, compiled)  # type: ignore[no-untyped-call]
    return losses.sum()


def token_logps(
    hidden: Tensor, head: Tensor, targets: Tensor, cap: float | None = None, *, compiled: bool = False
) -> Tensor:
    """Return log softmax(hidden[p] . head)[targets[p]] for every p, shape (P,), fp32 at least.

    Anything may be made of them: the gradients of ``hidden`` and ``head`` are exact for any upstream gradient. A head
    that learns costs a fourth product P x D x V in the backward pass, on a GPU a fifth. Shapes as in ``weighted_nll``.
    """
    compiled = compiled and _takes(hidden, head, cap)
    losses: Tensor = _TokenNll.apply(hidden, head, targets, cap, compiled)  # type: ignore[no-untyped-call]
    return -losses


def _takes(hidden: Tensor, head: Tensor, cap: float | None) -> bool:
    """Whether the compiled kernels may be used: C has none for logits, and none bends them."""
    return cap is None and elementwise.by(head) is in_triton and elementwise.takes(hidden, head)
