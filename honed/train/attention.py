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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

FUSED, PARTS = "honed_fused", "honed_parts"
"""Names of the paths that are here: torch's fused kernel for CPUs; plain torch for any device."""

_PASSED = ("sliding_window", "softcap", "s_aux")
"""What models of transformers pass to their attention besides the usual: window, cap and sinks (``Manner``)."""

UNKNOWN = ("position_bias", "indices", "block_indices", "sinks", "mask")
"""What some pass that no path here computes with; ``mask``: one of their own, for transformers makes none for ours."""

WIDTHS, DROPOUT = "widths", "dropout"
"""How wide queries and values are, as multi-head latent attention has them; what is left out in training."""

_BLOCK = 256
"""Queries that are computed together in plain torch."""

Span = tuple[int, int, int]
"""Where a segment starts and ends, and where the last of its descendants ends."""

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


@dataclass(frozen=True)
class Manner:
    """What a layer does with its scores besides a softmax.

    A query sees ``window`` tokens, itself included (None: all before it); scores are bent to stay within ``cap``
    (cap x tanh(score / cap)); ``sinks`` (H,) are scores of one more key a head, which has no value; ``dropout`` is the
    part of the weights that is left out.
    """

    window: int | None = None
    cap: float | None = None
    sinks: Tensor | None = None
    dropout: float = 0.0

    @property
    def plain(self) -> bool:
        """Whether it is a softmax over all that came before, and nothing more."""
        return self.window is None and self.cap is None and self.sinks is None and not self.dropout


PLAIN = Manner()


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
    asked: dict[nn.Module, dict[str, Any]] | None = None
    """Where a dictionary: what each layer passed to its attention that is in ``_PASSED`` or ``UNKNOWN``, ``WIDTHS``
    where these differ, and ``DROPOUT`` where there is some."""

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

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """Each segment's first position in its rows."""
        found: list[int] = []
        for index in range(len(self.lengths)):
            parent = self.parents[index] if self.parents else -1
            found.append(found[parent] + self.lengths[parent] if parent >= 0 else 0)
        return tuple(found)

    @property
    def longest(self) -> int:
        """Tokens of the longest row: how far back a token may look."""
        return max(depth + length for depth, length in zip(self.depths, self.lengths, strict=True))


class Path(Protocol):
    """Attention over a pack."""

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float, manner: Manner = PLAIN, /
    ) -> Tensor:
        """Take queries 1 x H x T x D, keys and values 1 x K x T x D; return 1 x H x T x D."""
        ...


def register(paths: Mapping[str, Path] | None = None) -> None:
    """Make paths (without any named: those that are here) known to transformers by name; again, it changes nothing."""
    from transformers import AttentionInterface

    # No mask is registered under these names, so that transformers makes none, and looks at no positions for one.
    for name, path in (paths or {FUSED: by_fused, PARTS: by_parts}).items():
        AttentionInterface.register(name, partial(packed_attention, path=path))


def replaceable(model: PreTrainedModel) -> bool:
    """Whether the model's code asks transformers for its attention by name.

    If not it has attention of its own, which relies on a causal mask: under our names transformers makes none.
    """
    modules = {kind.__module__ for kind in type(model).__mro__ if kind.__module__ != PreTrainedModel.__module__}
    return any(hasattr(sys.modules.get(name), "ALL_ATTENTION_FUNCTIONS") for name in modules)


def agrees(  # noqa: PLR0913 - what a path takes, and how near
    path: Path, q: Tensor, k: Tensor, v: Tensor, segments: Segments, within: float, manner: Manner = PLAIN
) -> bool:
    """Tell whether a path gives what plain torch gives in fp32, and its gradients: some kernels fail backward only.

    ``within`` is how far a number may be off, relative to the largest of its tensor; one that is none is too far.
    """
    found = _with_gradients(path, [q, k, v], segments, manner)
    expected = _with_gradients(by_parts, [q.float(), k.float(), v.float()], segments, manner)
    return all(
        float((one.float() - right).abs().max()) <= within * float(right.abs().max())
        for one, right in zip(found, expected, strict=True)
    )


def _with_gradients(path: Path, start: Sequence[Tensor], segments: Segments, manner: Manner) -> list[Tensor]:
    """Return a path's output and the gradients of query, key and value."""
    q, k, v = (tensor.detach().clone().requires_grad_() for tensor in start)
    with torch.enable_grad():
        out = path(q, k, v, segments, q.shape[3] ** -0.5, manner)
        return [out.detach(), *torch.autograd.grad(out, (q, k, v), start[0].flip(2))]


def ours(name: str) -> bool:
    """Whether a path is one of ours, and not a model's own."""
    return name.startswith("honed_")


def short(name: str) -> str:
    """Return a path's name as people are told it."""
    return name.removeprefix("honed_")


def known() -> set[str]:
    """Return the names of the paths that a model can be set to in this process."""
    from transformers import AttentionInterface

    return set(AttentionInterface().valid_keys())


def packed_attention(  # noqa: PLR0913 - transformers' signature, and the path
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
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
    if segments.asked is not None:
        given = {**options, "mask": mask}
        segments.asked[module] = {name: given[name] for name in (*_PASSED, *UNKNOWN) if given.get(name) is not None}
        if query.shape[3] != value.shape[3]:
            segments.asked[module][WIDTHS] = query.shape[3], value.shape[3]
        if dropout:
            segments.asked[module][DROPOUT] = dropout
    window = options.get("sliding_window")
    manner = Manner(
        window=window if window is not None and window < segments.longest else None,
        cap=options.get("softcap"),
        sinks=options.get("s_aux"),
        dropout=dropout,
    )
    assert not dropout or all(parent < 0 for parent in segments.parents), "layout.py shares no prefixes then"
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    return path(query, key, value, segments, scale, manner).transpose(1, 2), None


def by_fused(q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float, manner: Manner = PLAIN) -> Tensor:
    """torch's fused kernel for CPUs, which keeps no scores and takes grouped keys and values as they are.

    It takes no values of another width than that of keys (multi-head latent attention), nor any manner: plain torch
    does.
    """
    if v.shape[3] != k.shape[3] or not manner.plain:
        return by_parts(q, k, v, segments, scale, manner)
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


def by_parts(q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float, manner: Manner = PLAIN) -> Tensor:
    """Plain torch, differentiated by torch: on any device, in any manner. A block of queries meets its keys at a time.

    Torch keeps the blocks' scores for the backward pass: half of T x T of a row of T tokens, where no other path runs.
    """
    k, v = _repeated(q, k, v)
    spans, depths = segments.spans, segments.depths
    outs: list[Tensor] = []
    for (start, end, _), depth in zip(spans, depths, strict=True):
        line = [
            (*span[:2], above) for span, above in zip(spans, depths, strict=True) if span[0] < start < end <= span[2]
        ]
        for first in range(start, end, _BLOCK):
            last = min(first + _BLOCK, end)
            block = _Block(first, last, depth + first - start, (*line, (start, last, depth)), manner.window)
            hidden = block.hidden(q.device)
            outs.append(_plain(q[:, :, first:last], block.keys(k), block.keys(v), scale, hidden, manner))
    return torch.cat(outs, 2)


@dataclass(frozen=True)
class _Block:
    """Queries ``first`` to ``last`` of a segment, the first of which is at ``depth`` of its row.

    ``line`` holds where each segment of their row starts, where its keys end that came before, and its depth.
    """

    first: int
    last: int
    depth: int
    line: tuple[Span, ...]
    window: int | None

    @cached_property
    def _seen(self) -> list[tuple[slice, int]]:
        """The keys that any of the queries sees, as slices that lie end to end in the row, and each one's depth."""
        reach = 0 if self.window is None else self.depth - self.window + 1
        begins = [max(start, start + reach - depth) for start, _, depth in self.line]
        found = zip(begins, self.line, strict=True)
        return [(slice(begin, end), depth + begin - start) for begin, (start, end, depth) in found if begin < end]

    def keys(self, tensor: Tensor) -> Tensor:
        """Return those of ``tensor``, 1 x H x T x D, that the queries meet."""
        parts = [tensor[:, :, keys] for keys, _ in self._seen]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 2)

    def hidden(self, device: torch.device) -> Tensor:
        """Return which of these keys a query doesn't see."""
        parts = [torch.arange(depth, depth + keys.stop - keys.start, device=device) for keys, depth in self._seen]
        queries = torch.arange(self.depth, self.depth + self.last - self.first, device=device)
        distance = queries[:, None] - torch.cat(parts)
        return distance < 0 if self.window is None else (distance < 0) | (distance >= self.window)


def _plain(q: Tensor, k: Tensor, v: Tensor, scale: float, hidden: Tensor, manner: Manner) -> Tensor:
    """Return attention, 1 x H x N x D."""
    scores = (q @ k.transpose(2, 3)).to(_wide(q.dtype)) * scale
    if manner.cap is not None:
        scores = manner.cap * torch.tanh(scores / manner.cap)
    scores = scores.masked_fill(hidden, -torch.inf)
    if manner.sinks is not None:
        sinks = manner.sinks.to(scores.dtype)[None, :, None, None].expand(*scores.shape[:3], 1)
        weights = torch.cat((scores, sinks), 3).softmax(3)[..., :-1]
    else:
        weights = scores.softmax(3)
    if manner.dropout:
        weights = functional.dropout(weights, manner.dropout)
    return weights.to(v.dtype) @ v


def _joined(out: Tensor, lse: Tensor, part: Tensor, part_lse: Tensor) -> tuple[Tensor, Tensor]:
    """Return attention over two sets of keys from that over each."""
    whole = torch.logaddexp(lse, part_lse)
    share, rest = (part_lse - whole).exp()[..., None], (lse - whole).exp()[..., None]
    return (out * rest + part * share).to(out.dtype), whole


def _wide(dtype: torch.dtype) -> torch.dtype:
    """The type of a log-sum-exp: fp32, or fp64 for fp64."""
    return torch.promote_types(dtype, torch.float32)
