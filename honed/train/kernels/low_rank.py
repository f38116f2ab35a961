"""Low-rank adapters beside frozen linear layers: exactly the arithmetic that they need, and nothing kept twice.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models". The frozen weight gets no gradient, sums are taken
in place, and nothing is computed for the layers below the first adapter. Layers that read one input are one function:
their narrow products are one product, as wide as their ranks together. The input is kept once, and not at all where it
is a norm's output or SwiGLU's, which is made again from what these keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from honed.train.kernels import norm, swiglu
from honed.train.quantise import Nf4Linear, dense


class Adapter(NamedTuple):
    """One layer's, for one input: ``x W' + scale * drop(x) A' B'``.

    Shapes: base out x in, a rank x in, b out x rank, dropped T x in (bool) or None.
    """

    base: nn.Linear | Nf4Linear
    a: Tensor
    b: Tensor
    scale: float
    dropped: Tensor | None


class _Beside(torch.autograd.Function):
    """``pairs``: A and B of each adapter in turn; their gradients are asked for by these."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, source: norm.Source | None, adapters: Sequence[Adapter], *pairs: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.fixed = [(one.base, one.scale) for one in adapters]
        ctx.compiled = source is not None and source.compiled
        lows = _narrow(x.flatten(0, -2), adapters)
        learns = any(ctx.needs_input_grad[3::2])
        kept = norm.to_keep(x, source) if learns else ()
        ctx.save_for_backward(*pairs, *lows, *(one.dropped for one in adapters), *kept)
        return tuple(
            _sum(functional.linear(x, dense(one.base)), low, one.b) for one, low in zip(adapters, lows, strict=True)
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        count, every = len(ctx.fixed), ctx.saved_tensors  # once: layers computed again give each tensor once
        pairs, lows = every[: 2 * count], every[2 * count : 3 * count]
        masks, kept = every[3 * count : 4 * count], every[4 * count :]
        adapters = [
            Adapter(base, a, b, scale, mask)
            for (base, scale), a, b, mask in zip(ctx.fixed, pairs[::2], pairs[1::2], masks, strict=True)
        ]
        flat = [upstream.flatten(0, -2) for upstream in grads]
        narrow = [_narrow_back(upstream, one) for upstream, one in zip(flat, adapters, strict=True)]
        of_a: Sequence[Tensor | None] = [None] * count
        if kept:
            of_a = _of_a(narrow, norm.restored(kept, compiled=ctx.compiled).flatten(0, -2), adapters)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = flat[0] @ dense(adapters[0].base)
            for upstream, one in zip(flat[1:], adapters[1:], strict=True):
                of_x.addmm_(upstream, dense(one.base))
            _add_of_x(of_x, narrow, adapters)
            of_x = of_x.view(*grads[0].shape[:-1], of_x.shape[-1])
        found: list[Tensor | None] = []
        for number, (upstream, low) in enumerate(zip(flat, lows, strict=True)):
            learns_a, learns_b = ctx.needs_input_grad[3 + 2 * number : 5 + 2 * number]
            found += [of_a[number] if learns_a else None, _of_b(low, upstream) if learns_b else None]
        return of_x, None, None, *found


class _BehindSwiGlu(torch.autograd.Function):
    """The one layer behind ``silu(gate) * up``; the product is made again along with its factors' gradients."""

    @staticmethod
    def forward(  # noqa: PLR0913 - the operands of one formula
        ctx: Any, gate: Tensor, up: Tensor, adapter: Adapter, a: Tensor, b: Tensor, compiled: bool
    ) -> Tensor:
        ctx.fixed, ctx.compiled = (adapter.base, adapter.scale), compiled
        product = swiglu.product(gate, up, compiled=compiled, brief=True)
        (low,) = _narrow(product.flatten(0, -2), [adapter])
        ctx.save_for_backward(gate, up, a, b, low, adapter.dropped)
        return _sum(functional.linear(product, dense(adapter.base)), low, b)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gate, up, a, b, low, dropped = ctx.saved_tensors
        base, scale = ctx.fixed
        one = Adapter(base, a, b, scale, dropped)
        learns_a, learns_b = ctx.needs_input_grad[3:5]
        flat = grad.flatten(0, -2)
        narrow = [_narrow_back(flat, one)]
        of_gate = of_up = of_a = product = None
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            inner = flat @ dense(one.base)
            _add_of_x(inner, narrow, [one])
            of_gate, of_up, product = swiglu.back(
                gate, up, inner.view(gate.shape), made=learns_a, spare=True, compiled=ctx.compiled
            )
        elif learns_a:
            product = swiglu.product(gate, up, compiled=ctx.compiled, brief=True)
        if product is not None:
            (of_a,) = _of_a(narrow, product.flatten(0, -2), [one])
        return of_gate, of_up, None, of_a, _of_b(low, flat) if learns_b else None, None


def _drop(x: Tensor, dropped: Tensor | None) -> Tensor:
    return x if dropped is None else torch.where(dropped, x.new_zeros(()), x)


def _apart(adapters: Sequence[Adapter]) -> bool:
    """Whether each has products of its own: there is one only, or what is dropped is drawn for each."""
    return len(adapters) == 1 or any(one.dropped is not None for one in adapters)


def _narrow(x: Tensor, adapters: Sequence[Adapter]) -> list[Tensor]:
    """Return ``scale * drop(x) A'`` of each, T x rank."""
    if _apart(adapters):
        return [(_drop(x, one.dropped) @ one.a.T).mul_(one.scale) for one in adapters]
    lows = (x @ torch.cat([one.a for one in adapters]).T).split([len(one.a) for one in adapters], 1)
    return [low.mul_(one.scale) for low, one in zip(lows, adapters, strict=True)]


def _sum(out: Tensor, low: Tensor, b: Tensor) -> Tensor:
    out.view(-1, out.shape[-1]).addmm_(low, b.T)
    return out


def _narrow_back(upstream: Tensor, one: Adapter) -> Tensor:
    return (upstream @ one.b).mul_(one.scale)


def _of_b(low: Tensor, upstream: Tensor) -> Tensor:
    """(low' grad)' rather than grad' low: the wide matrix is read along its rows, half again as fast on a CPU."""
    return (low.T @ upstream).T


def _of_a(narrow: Sequence[Tensor], x: Tensor, adapters: Sequence[Adapter]) -> Sequence[Tensor]:
    if _apart(adapters):
        return [low.T @ _drop(x, one.dropped) for low, one in zip(narrow, adapters, strict=True)]
    every: Tensor = torch.cat(list(narrow), 1).T @ x
    parts: tuple[Tensor, ...] = every.split([len(one.a) for one in adapters])
    return parts


def _add_of_x(of_x: Tensor, narrow: Sequence[Tensor], adapters: Sequence[Adapter]) -> None:
    """Add what comes through the adapters to the input's gradient."""
    if not _apart(adapters):
        of_x.addmm_(torch.cat(list(narrow), 1), torch.cat([one.a for one in adapters]))
        return
    for low, one in zip(narrow, adapters, strict=True):
        if one.dropped is None:
            of_x.addmm_(low, one.a)
        else:
            of_x += (low @ one.a).masked_fill_(one.dropped, 0)


def beside(x: Tensor, adapters: Sequence[Adapter]) -> tuple[Tensor, ...]:
    """Return each layer's output with its adapter, without its bias, for one input. Shapes: ... x in -> ... x out."""
    pairs = [tensor for one in adapters for tensor in (one.a, one.b)]
    found: tuple[Tensor, ...] = _Beside.apply(x, norm.source(x), adapters, *pairs)  # type: ignore[no-untyped-call]
    return found


def behind_swiglu(gate: Tensor, up: Tensor, adapter: Adapter, *, compiled: bool = False) -> Tensor:
    """Return the layer's output with its adapter, without its bias, for ``silu(gate) * up``.

    Shapes: gate and up ... x in, returns ... x out. ``compiled``: silu and the product by one kernel, where it can.
    """
    compiled = compiled and swiglu.takes(gate, up)
    found: Tensor = _BehindSwiGlu.apply(gate, up, adapter, adapter.a, adapter.b, compiled)  # type: ignore[no-untyped-call]
    return found
