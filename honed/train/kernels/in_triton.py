"""RMSNorm, SwiGLU, rotary positions and the loss of logits on a GPU: each the plain formula, compiled into one kernel.

torch's own operations go over memory once for each sign of a formula, most of them between bf16 and fp32. Its compiler
(Ansel et al. 2024, "PyTorch 2: Faster Machine Learning Through Dynamic Python Bytecode Transformation and Graph
Compilation") makes one pass of them, computed in fp32 throughout. How many rows there are is left open, so that passes
of any size share a kernel. Whether these may be used is found out once a run (``choice``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

_FORMS = 64
"""Kernels of one formula, at most: by width, type and layout. Past it torch computes uncompiled, and doesn't say so."""


def norm(x: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Return RMSNorm of x (... x D) by weight (D,), and 1 / root mean square of each row (... x 1, fp32)."""
    out, inverse = _compiled(_norm)(_rows(x), weight.detach(), epsilon)
    return out.view(x.shape).detach(), inverse.view(*x.shape[:-1], 1)  # no view: a model may change it in its place


def norm_again(x: Tensor, weight: Tensor, inverse: Tensor) -> Tensor:
    """Return what ``norm`` returned, from what else it returned."""
    out: Tensor = _compiled(_norm_again)(_rows(x), weight.detach(), _rows(inverse))
    return out.view(x.shape)


def norm_back(
    x: Tensor, weight: Tensor, inverse: Tensor, upstream: Tensor, *, learns: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of x and, if it ``learns``, of the weight; ``upstream`` is that of the output."""
    function = _compiled(_norm_back_of_both if learns else _norm_back)
    of_x, of_weight = function(_rows(x), weight.detach(), _rows(inverse), _rows(upstream.contiguous()))
    return of_x.view(x.shape), of_weight


def swiglu(gate: Tensor, up: Tensor, *, brief: bool = False) -> Tensor:  # noqa: ARG001 - as in C
    """Return silu(gate) x up; all of one shape."""
    out: Tensor = _compiled(_swiglu)(_flat(gate), _flat(up))
    return out.view(gate.shape)


def swiglu_back(
    gate: Tensor,
    up: Tensor,
    upstream: Tensor,
    *,
    product: bool = False,
    spare: bool = False,  # noqa: ARG001 - as in C
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the gradients of gate and up, and the product itself if it is asked for."""
    function = _compiled(_swiglu_back_and_product if product else _swiglu_back)
    of_gate, of_up, made = function(_flat(gate), _flat(up), _flat(upstream.contiguous()))
    return of_gate.view(gate.shape), of_up.view(gate.shape), None if made is None else made.view(gate.shape)


def rotate(x: Tensor, cos: Tensor, sin: Tensor, *, back: bool = False) -> Tensor:
    """Return ``x * cos + (-x2, x1) * sin``, or with ``back`` its gradient from that of the output.

    Shapes: x B x T x H x D, cos and sin B x T x 1 x D; x needn't be contiguous, the result is.
    """
    flat = x.detach().flatten(0, 1)
    torch._dynamo.maybe_mark_dynamic(flat, 0)
    out: Tensor = _compiled(_rotate_back if back else _rotate)(flat, _rows(cos), _rows(sin))
    return out.view(x.shape)


def losses(logits: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted losses (P,) and the log-sum-exp of each row (P,); the logits become their gradient.

    Shapes: logits P x V, targets and weights (P,); the results are fp32.
    """
    found: tuple[Tensor, Tensor] = _compiled(_losses)(_rows(logits), _rows(targets), _rows(weights))
    return found


def gradients(block: Tensor, sums: Tensor, targets: Tensor, weights: Tensor) -> None:
    """Let a block of logits, P x some of V, become its gradient; ``sums`` are what ``losses`` returned.

    ``targets`` are places in the block; others, also below 0, are in none of it.
    """
    block = _rows(block)
    torch._dynamo.maybe_mark_dynamic(block, 1)
    _compiled(_gradients)(block, _rows(sums), _rows(targets), _rows(weights))


def _rows(x: Tensor) -> Tensor:
    """The same memory as rows, however many, or as single numbers."""
    flat = x.detach().view(-1, x.shape[-1]) if x.ndim > 1 else x.detach()
    torch._dynamo.maybe_mark_dynamic(flat, 0)
    return flat


def _flat(x: Tensor) -> Tensor:
    """The same memory as one row of numbers, however many."""
    flat = x.detach().view(-1)
    torch._dynamo.maybe_mark_dynamic(flat, 0)
    return flat


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    made = torch.compile(function, dynamic=False)  # sizes are open where they are marked so, and nowhere else

    def call(*given: Any) -> Any:
        if torch._dynamo.config.recompile_limit < _FORMS:  # each thread has its own, and gradients have one of theirs
            torch._dynamo.config.recompile_limit = _FORMS
        return made(*given)

    return call


def _norm(x: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    inverse = torch.rsqrt(x.float().square().mean(1, keepdim=True) + epsilon)
    return _norm_again(x, weight, inverse), inverse


def _norm_again(x: Tensor, weight: Tensor, inverse: Tensor) -> Tensor:
    return (x.float() * inverse * weight.float()).to(x.dtype)


def _norm_back(x: Tensor, weight: Tensor, inverse: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor | None]:
    normal, wide = x.float() * inverse, upstream.float() * weight.float()
    mean = (normal * wide).mean(1, keepdim=True)
    return ((wide - normal * mean) * inverse).to(x.dtype), None


def _norm_back_of_both(x: Tensor, weight: Tensor, inverse: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    of_x, _ = _norm_back(x, weight, inverse, upstream)
    return of_x, (x.float() * inverse * upstream.float()).sum(0).to(weight.dtype)


def _swiglu(gate: Tensor, up: Tensor) -> Tensor:
    wide = gate.float()
    return (wide * torch.sigmoid(wide) * up.float()).to(gate.dtype)


def _swiglu_back(gate: Tensor, up: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    wide, wide_up, of_out = gate.float(), up.float(), upstream.float()
    share = torch.sigmoid(wide)
    of_gate = of_out * wide_up * share * (1 + wide * (1 - share))
    return of_gate.to(gate.dtype), (of_out * wide * share).to(gate.dtype), None


def _swiglu_back_and_product(gate: Tensor, up: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    of_gate, of_up, _ = _swiglu_back(gate, up, upstream)
    return of_gate, of_up, _swiglu(gate, up)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    wide, cos, sin = x.float(), cos.float()[:, None], sin.float()[:, None]
    left, right = wide.chunk(2, -1)
    return (wide * cos + torch.cat((-right, left), -1) * sin).to(x.dtype).contiguous()


def _rotate_back(upstream: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    wide, cos, sin = upstream.float(), cos.float()[:, None], sin.float()[:, None]
    left, right = (wide * sin).chunk(2, -1)
    return (wide * cos + torch.cat((right, -left), -1)).to(upstream.dtype).contiguous()


def _losses(logits: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    wide = logits.float()
    sums = torch.logsumexp(wide, 1)
    found = (sums - wide.gather(1, targets[:, None])[:, 0]) * weights
    _gradients(logits, sums, targets, weights)
    return found, sums


def _gradients(block: Tensor, sums: Tensor, targets: Tensor, weights: Tensor) -> None:
    right = torch.arange(block.shape[1], device=block.device)[None] == targets[:, None]
    block.copy_((torch.exp(block.float() - sums[:, None]) - right.float()) * weights[:, None])
