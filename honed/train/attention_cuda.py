"""Attention paths for CUDA, and which of them is the fastest there: found by timing them on a pack of the run.

Dong et al. 2024, "Flex Attention: A Programming Model for Generating Optimized Attention Kernels"; Dao 2023,
"FlashAttention-2", its form for rows of varying length.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from honed.train import attention
from honed.train.attention import PARTS, Path, Segments

FLEX, VARLEN = "honed_flex", "honed_varlen"

_ROUNDS = 3
_APART = 2e-2
"""How far from plain torch a path may be, relative to the largest number."""

_COMPARED = 256
"""Tokens of a segment, at most, on which paths are compared."""


def visible(below: Tensor) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Return which keys a query sees, by batch, head, query and key: those before it whose descendants reach it.

    ``below[j]`` is where the last descendant of token j's segment ends: one number a token says all of a forest.
    """

    def mask(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (query < below[key])

    return mask


def below(segments: Segments, device: torch.device) -> Tensor:
    """Return where the last descendant of each token's segment ends, shape (T,)."""
    ends = torch.empty(sum(segments.lengths), dtype=torch.int32)
    for start, end, last in segments.spans:
        ends[start:end] = last
    return ends.to(device)


def by_flex(q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float) -> Tensor:
    """Compiled FlexAttention over blocks of 128 x 128 that hold anything; the whole mask is never built."""
    if FLEX not in segments.made:
        segments.made[FLEX] = _blocks(visible(below(segments, q.device)), q.shape[2], q.device)
    out: Tensor = _compiled()(q, k, v, block_mask=segments.made[FLEX], scale=scale, enable_gqa=True)
    return out


def by_varlen(q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float) -> Tensor:
    """FlashAttention over rows end to end, where none shares a prefix; in 16 bits, for values as wide as keys."""
    if v.shape[3] != k.shape[3]:
        return attention.by_parts(q, k, v, segments, scale)
    assert all(parent < 0 for parent in segments.parents), "rows that share a prefix can't be told apart here"
    from torch.nn.attention.varlen import varlen_attn

    if VARLEN not in segments.made:
        ends = torch.tensor((0, *segments.lengths)).cumsum(0).to(q.device, torch.int32)
        segments.made[VARLEN] = ends, max(segments.lengths)
    ends, longest = segments.made[VARLEN]
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (q, k, v))
    out = varlen_attn(
        query, key, value, ends, ends, longest, longest, scale=scale, window_size=(-1, 0), enable_gqa=True
    )
    assert isinstance(out, Tensor)
    return out.transpose(0, 1)[None]


def fastest(config: Any, segments: Segments, dtype: torch.dtype, *, shared: bool) -> tuple[str, str]:
    """Time the paths on CUDA over ``segments``, forward and backward; return the fastest one's name, and the times.

    ``config`` is the model's text configuration; ``shared`` says that some pass of the run, if not this one, has rows
    that share a prefix. A path that fails here, or disagrees with plain torch, is left out.
    """
    paths: dict[str, Path] = {PARTS: attention.by_parts, FLEX: by_flex}
    if not shared and dtype != torch.float32:
        paths[VARLEN] = by_varlen
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    queries = config.num_attention_heads
    heads = (queries, *(getattr(config, "num_key_value_heads", queries),) * 2)
    # Plain torch holds the scores of whole rows: paths are compared on short ones, and timed on those of the run.
    short = Segments(tuple(min(length, _COMPARED) for length in segments.lengths), segments.parents)
    times: dict[str, float] = {}
    for name, path in paths.items():
        try:
            q, k, v = _drawn(heads, short, width, dtype)
            if not attention.agrees(path, q, k, v, short, _APART):
                continue
            times[name] = _timed(path, _drawn(heads, segments, width, dtype), segments, width**-0.5)
        except (RuntimeError, NotImplementedError, ImportError, AssertionError):  # not on this card
            continue
    if not times:
        return PARTS, "attention by parts: no other path runs here"
    best = min(times, key=times.__getitem__)
    said = ", ".join(f"{name.removeprefix('honed_')} {1e3 * seconds:.2f} ms" for name, seconds in times.items())
    attention.register({name: paths[name] for name in times})
    return best, f"attention by {best.removeprefix('honed_')}: measured a layer: {said}"


def _drawn(heads: tuple[int, ...], segments: Segments, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (torch.randn(1, count, sum(segments.lengths), width, dtype=dtype, device="cuda") for count in heads)
    return q, k, v


def _timed(path: Path, start: Sequence[Tensor], segments: Segments, scale: float) -> float:
    seconds = float("inf")
    for _ in range(_ROUNDS):
        q, k, v = (tensor.detach().requires_grad_() for tensor in start)
        torch.cuda.synchronize()
        begun = time.perf_counter()
        path(q, k, v, segments, scale).sum().backward()
        torch.cuda.synchronize()
        seconds = min(seconds, time.perf_counter() - begun)
    return seconds


def _blocks(mask: Callable[..., Tensor], size: int, device: torch.device) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    # Uncompiled, torch would build the whole mask first. On a CPU, in the tests, there is no compiler to count on.
    return create_block_mask(mask, None, None, size, size, device=device, _compile=device.type == "cuda")


@cache
def _compiled() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True) if torch.cuda.is_available() else flex_attention
