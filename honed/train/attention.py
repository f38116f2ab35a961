"""Attention over packed rows that share prefixes: each token sees its own row only, and no T x T mask is ever built.

A pack is a forest of segments, laid out depth first. A segment attends to itself causally and to all of its ancestors
in full; since what descends from a segment lies right behind it, that is one product for each segment and one more for
each segment with descendants. The parts of a softmax are joined by their log-sum-exp (Milakov & Gimelshein 2018,
"Online normalizer calculation for softmax"; Dao et al. 2022, "FlashAttention", section 3.1).

transformers lets an attention function be registered by name; the model's code stays as it is. The segments travel
as a keyword argument of the forward pass and count their calls, so that a model whose layers don't come here (and would
mix neighbouring rows) is found before training, not after.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from honed.errors import ModelError

FUSED, PARTS = "honed_fused", "honed_parts"
"""Names of the paths that are here: torch's fused kernel for CPUs; plain torch for any device."""

Path = Callable[[Tensor, Tensor, Tensor, "Segments", float], Tensor]
"""``path(query, key, value, segments, scale)``: query and what is returned 1 x H x T x D, the others 1 x K x T x D."""

_BLOCK = 256
"""Queries that are computed together in plain torch."""

Span = tuple[int, int, int]
"""Where a segment starts and ends, and where the last of its descendants ends."""

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


@dataclass
class Segments:
    """Lengths of the segments of a pack in depth-first order, the index of each one's parent (-1: none).

    ``calls`` counts how often attention has been computed over them. Without ``parents`` no segment has one.
    """

    lengths: tuple[int, ...]
    parents: tuple[int, ...] = ()
    calls: int = 0
    made: dict[str, Any] = field(default_factory=dict)
    """What a path made of the segments for its first layer, for all others."""

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """One span a segment."""
        ends = [0] * len(self.lengths)
        total = 0
        for index, length in enumerate(self.lengths):
            total += length
            ends[index] = total
        below = list(ends)
        for index in reversed(range(len(self.parents))):
            parent = self.parents[index]
            if parent >= 0:
                below[parent] = max(below[parent], below[index])
        return tuple((end - length, end, last) for length, end, last in zip(self.lengths, ends, below, strict=True))

    @property
    def longest(self) -> int:
        """Tokens of the longest row: how far back a token may look."""
        depth: list[int] = []
        for index, length in enumerate(self.lengths):
            parent = self.parents[index] if self.parents else -1
            depth.append(length + (depth[parent] if parent >= 0 else 0))
        return max(depth)


def register(paths: Mapping[str, Path] | None = None) -> None:
    """Make paths (without any named: those that are here) known to transformers by name; again, it changes nothing."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    for name, path in (paths or {FUSED: by_fused, PARTS: by_parts}).items():
        AttentionInterface.register(name, partial(packed_attention, path=path))
        AttentionMaskInterface.register(name, _no_mask)


def replaceable(model: PreTrainedModel) -> bool:
    """Whether the model's code asks transformers for its attention by name.

    If not it has attention of its own, which relies on a causal mask: under our names transformers makes none.
    """
    modules = {kind.__module__ for kind in type(model).__mro__ if kind.__module__ != PreTrainedModel.__module__}
    return any(hasattr(sys.modules.get(name), "ALL_ATTENTION_FUNCTIONS") for name in modules)


def agrees(path: Path, q: Tensor, k: Tensor, v: Tensor, segments: Segments, within: float) -> bool:
    """Tell whether a path gives what plain torch gives in fp32, and its gradients: some kernels fail backward only.

    ``within`` is how far a number may be off, relative to the largest of its tensor; one that is none is too far.
    """
    found = _with_gradients(path, [q, k, v], segments)
    expected = _with_gradients(by_parts, [q.float(), k.float(), v.float()], segments)
    return all(
        float((one.float() - right).abs().max()) <= within * float(right.abs().max())
        for one, right in zip(found, expected, strict=True)
    )


def _with_gradients(path: Path, start: Sequence[Tensor], segments: Segments) -> list[Tensor]:
    """Return a path's output and the gradients of query, key and value."""
    q, k, v = (tensor.detach().clone().requires_grad_() for tensor in start)
    with torch.enable_grad():
        out = path(q, k, v, segments, q.shape[3] ** -0.5)
        return [out.detach(), *torch.autograd.grad(out, (q, k, v), start[0].flip(2))]


def known() -> set[str]:
    """Return the names of the paths that a model can be set to in this process."""
    from transformers import AttentionInterface

    return set(AttentionInterface().valid_keys())


def packed_attention(  # noqa: PLR0913 - transformers' signature, and the path
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: Tensor | None,
    *,
    path: Path,
    segments: Segments,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each row. Shapes: query 1 x H x T x D, key and value 1 x K x T x D (K divides H).

    Returns 1 x T x H x D. Scaling comes from the model; heads share keys and values in groups of H / K.
    """
    segments.calls += 1
    window = options.get("sliding_window")
    assert window is None or segments.longest <= window, "rows longer than the window: prepare.py leaves them out"
    if options.get("softcap") or options.get("s_aux") is not None:
        raise ModelError(
            "this model's attention caps its scores or has sinks, which packed training doesn't compute",
            "Choose a model with plain softmax attention.",
        )
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    if dropout:  # layout.py shares no prefixes then
        return _with_dropout(query, key, value, segments, scale, dropout).transpose(1, 2), None
    return path(query, key, value, segments, scale).transpose(1, 2), None


def by_fused(q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float) -> Tensor:
    """torch's fused kernel for CPUs, which keeps no scores and takes grouped keys and values as they are.

    It doesn't take values of another width than that of keys (multi-head latent attention): plain torch does.
    """
    if v.shape[3] != k.shape[3]:
        return by_parts(q, k, v, segments, scale)
    out: Tensor = _TreeAttention.apply(q, k, v, segments.spans, scale)  # type: ignore[no-untyped-call]
    return out


def _repeated(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values once for every head."""
    groups = q.shape[1] // k.shape[1]
    return (k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)) if groups > 1 else (k, v)


class _TreeAttention(torch.autograd.Function):
    """Over torch's fused kernel for CPUs, part by part.

    The kernel's backward pass takes a part's keys with the output and log-sum-exp of the whole softmax, so that its
    gradients are the whole's share of that part, with nothing to be put right afterwards.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, spans: Sequence[Span], scale: float) -> Tensor:
        out, lse = torch.empty_like(q), q.new_empty(q.shape[:3], dtype=_wide(q.dtype))
        for start, end, _ in spans:
            own = slice(start, end)
            out[:, :, own], lse[:, :, own] = _flash(
                q[:, :, own], k[:, :, own], v[:, :, own], is_causal=True, scale=scale
            )
        for start, end, below in spans:
            if below > end:
                own, behind = slice(start, end), slice(end, below)
                part, part_lse = _flash(q[:, :, behind], k[:, :, own], v[:, :, own], scale=scale)
                out[:, :, behind], lse[:, :, behind] = _joined(out[:, :, behind], lse[:, :, behind], part, part_lse)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.spans, ctx.scale = spans, scale
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q, k, v, out, lse = ctx.saved_tensors
        kind = q.dtype
        # The kernel's backward pass takes two to four times as long in 16 bits as in 32 unless rows are very long.
        grad, q, k, v, out = (tensor.to(lse.dtype) for tensor in (*grads, q, k, v, out))
        groups = q.shape[1] // k.shape[1]
        k, v = _repeated(q, k, v)  # it divides the work by heads: with grouped ones the threads wait for one another
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)

        def part(rows: slice, keys: slice, causal: bool) -> tuple[Tensor, Tensor, Tensor]:
            asked = (grad[:, :, rows], q[:, :, rows], k[:, :, keys], v[:, :, keys], out[:, :, rows], lse[:, :, rows])
            found: tuple[Tensor, Tensor, Tensor] = _flash_backward(*asked, 0.0, causal, scale=ctx.scale)
            return found

        for start, end, _ in ctx.spans:
            own = slice(start, end)
            dq[:, :, own], dk[:, :, own], dv[:, :, own] = part(own, own, True)
        for start, end, below in ctx.spans:
            if below > end:
                own, behind = slice(start, end), slice(end, below)
                more_q, more_k, more_v = part(behind, own, False)
                dq[:, :, behind] += more_q
                dk[:, :, own] += more_k
                dv[:, :, own] += more_v
        dk, dv = (one.unflatten(1, (-1, groups)).sum(2) if groups > 1 else one for one in (dk, dv))
        return dq.to(kind), dk.to(kind), dv.to(kind), None, None


def by_parts(q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float) -> Tensor:
    """Plain torch, differentiated by torch: on any device. A block of a segment's queries meets its keys at a time.

    Torch keeps the blocks' scores for the backward pass: half of T x T of a row of T tokens, where no other path runs.
    """
    k, v = _repeated(q, k, v)
    outs: list[Tensor] = []
    for start, end, _ in segments.spans:
        above = [slice(first, last) for first, last, below in segments.spans if last <= start and end <= below]
        for first in range(start, end, _BLOCK):
            last = min(first + _BLOCK, end)
            rows, own = q[:, :, first:last], slice(start, last)
            future = torch.ones(last - first, last - start, dtype=torch.bool, device=q.device).triu(1 + first - start)
            part, lse = _plain(rows, k[:, :, own], v[:, :, own], scale, future)
            for keys in above:
                part, lse = _joined(part, lse, *_plain(rows, k[:, :, keys], v[:, :, keys], scale))
            outs.append(part)
    return torch.cat(outs, 2)


def _plain(q: Tensor, k: Tensor, v: Tensor, scale: float, future: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return attention (1 x H x N x D) and its log-sum-exp (1 x H x N)."""
    scores = (q @ k.transpose(2, 3)).to(_wide(q.dtype)) * scale
    if future is not None:
        scores = scores.masked_fill(future, -torch.inf)
    lse = scores.logsumexp(3)
    return (scores - lse[..., None]).exp().to(v.dtype) @ v, lse


def _joined(out: Tensor, lse: Tensor, part: Tensor, part_lse: Tensor) -> tuple[Tensor, Tensor]:
    """Return attention over two sets of keys from that over each."""
    whole = torch.logaddexp(lse, part_lse)
    share, rest = (part_lse - whole).exp()[..., None], (lse - whole).exp()[..., None]
    return (out * rest + part * share).to(out.dtype), whole


def _with_dropout(q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float, dropout: float) -> Tensor:
    assert not any(parent >= 0 for parent in segments.parents), "dropout would be drawn once for several rows"
    k, v = _repeated(q, k, v)
    parts = [
        functional.scaled_dot_product_attention(one, keys, values, is_causal=True, scale=scale, dropout_p=dropout)
        for one, keys, values in zip(*(tensor.split(segments.lengths, 2) for tensor in (q, k, v)), strict=True)
    ]
    return torch.cat(parts, 2)


def _wide(dtype: torch.dtype) -> torch.dtype:
    """The type of a log-sum-exp: fp32, or fp64 for fp64."""
    return torch.promote_types(dtype, torch.float32)


def _no_mask(*_: Any, **__: Any) -> None:
    return None
