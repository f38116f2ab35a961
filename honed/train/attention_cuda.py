"""Attention paths for CUDA, and which of them is the fastest there: found by timing them on a pack of the run.

Dong et al. 2024, "Flex Attention: A Programming Model for Generating Optimized Attention Kernels"; Dao 2023,
"FlashAttention-2", its form for rows of varying length.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from honed.errors import first_line
from honed.models import heads
from honed.train import attention
from honed.train.attention import PARTS, PLAIN, Manner, Path, Segments

FLEX, VARLEN = "honed_flex", "honed_varlen"

_ROUNDS = 3
_APART = 2e-2
"""How far from plain torch a path may be, relative to the largest number."""

_COMPARED = 256
"""Tokens of a segment, at most, on which paths are compared."""

_FEW = Segments((30, 10, 20), (-1, 0, 0))
"""A pass of fewer tokens than a kernel's block, as the last one of an epoch may be."""

_WORDS = 120
"""Letters of an error that are said."""


def visible(
    below: Tensor, places: Tensor | None = None, window: int = 0
) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Return which keys a query sees, by batch, head, query and key: those before it whose descendants reach it.

    ``below[j]`` is where the last descendant of token j's segment ends: one number a token says all of a forest. With
    ``places``, positions in rows, only those of the last ``window`` tokens.
    """

    def mask(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (query < below[key])

    if places is None:
        return mask

    def near(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return mask(batch, head, query, key) & (places[query] - places[key] < window)

    return near


def below(segments: Segments, device: torch.device) -> Tensor:
    """Return where the last descendant of each token's segment ends, shape (T,)."""
    ends = torch.empty(sum(segments.lengths), dtype=torch.int32)
    for start, end, last in segments.spans:
        ends[start:end] = last
    return ends.to(device)


def places(segments: Segments, device: torch.device) -> Tensor:
    """Return the position of each token in its rows, shape (T,)."""
    parts = [torch.arange(depth, depth + n) for depth, n in zip(segments.depths, segments.lengths, strict=True)]
    return torch.cat(parts).to(device, torch.int32)


def by_flex(q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float, manner: Manner = PLAIN) -> Tensor:
    """Compiled FlexAttention over blocks of 128 x 128 that hold anything; the whole mask is never built."""
    if not flex_takes(manner):
        return attention.by_parts(q, k, v, segments, scale, manner)
    key = f"{FLEX}, {manner.window}"
    if key not in segments.made:
        near = () if manner.window is None else (places(segments, q.device), manner.window)
        segments.made[key] = _blocks(visible(below(segments, q.device), *near), q.shape[2], q.device)
    bent = None if manner.cap is None else _bent(manner.cap)
    options: dict[str, Any] = {"score_mod": bent, "block_mask": segments.made[key], "scale": scale, "enable_gqa": True}
    if q.device.type == "cuda":  # by itself it takes a kernel for decoding where a pass is short, and finds none
        options["kernel_options"] = _for_passes()
    out: Tensor = _compiled(q.device.type)(q, k, v, **options)
    return out


def flex_takes(manner: Manner) -> bool:
    """Whether FlexAttention takes it; else plain torch does, which keeps the scores."""
    return manner.sinks is None and not manner.dropout


@cache
def _for_passes() -> dict[str, Any]:
    """What asks FlexAttention for its kernel for whole passes: BACKEND is newer than the oldest torch that we take."""
    from torch.nn.attention import flex_attention

    known = getattr(getattr(flex_attention, "FlexKernelOptions", None), "__annotations__", {})
    return {"BACKEND": "TRITON"} if "BACKEND" in known else {"FORCE_USE_FLEX_ATTENTION": True}


@cache
def _bent(cap: float) -> Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]:
    """A score within its cap; one function for each, or it would be compiled again at every call."""

    def bent(score: Tensor, _batch: Tensor, _head: Tensor, _query: Tensor, _key: Tensor) -> Tensor:
        return cap * torch.tanh(score / cap)

    return bent


def by_varlen(q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float, manner: Manner = PLAIN) -> Tensor:
    """FlashAttention over rows end to end, where none shares a prefix; in 16 bits, for values as wide as keys."""
    if not kernel_takes(VARLEN, manner, as_wide=v.shape[3] == k.shape[3]):
        return attention.by_parts(q, k, v, segments, scale, manner)
    assert all(parent < 0 for parent in segments.parents), "rows that share a prefix can't be told apart here"
    from torch.nn.attention.varlen import varlen_attn

    if VARLEN not in segments.made:
        ends = torch.tensor((0, *segments.lengths)).cumsum(0).to(q.device, torch.int32)
        segments.made[VARLEN] = ends, max(segments.lengths)
    ends, longest = segments.made[VARLEN]
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (q, k, v))
    before = -1 if manner.window is None else manner.window - 1  # itself isn't counted
    seen: dict[str, Any] = {"scale": scale, "window_size": (before, 0), **_grouped()}
    out = varlen_attn(query, key, value, ends, ends, longest, longest, **seen)
    assert isinstance(out, Tensor)
    return out.transpose(0, 1)[None]


def varlen_takes(manner: Manner) -> bool:
    """Whether FlashAttention over rows of varying length takes it; else plain torch does, which keeps the scores."""
    return manner.cap is None and manner.sinks is None and not manner.dropout


def kernel_takes(name: str, manner: Manner, *, as_wide: bool) -> bool:
    """Whether the path of that name, for a CPU or for CUDA, computes it by a kernel; else plain torch does.

    ``as_wide``: values are as wide as keys.
    """
    if name == FLEX:
        return flex_takes(manner)
    return name != PARTS and as_wide and (varlen_takes(manner) if name == VARLEN else manner.plain)


@cache
def _grouped() -> dict[str, Any]:
    """What this torch has to be told of keys that several queries share: 2.11 takes them as they are."""
    from torch.nn.attention.varlen import varlen_attn

    return {"enable_gqa": True} if "enable_gqa" in inspect.signature(varlen_attn).parameters else {}


def fastest(
    config: Any, segments: Segments, dtype: torch.dtype, manner: Manner = PLAIN, *, shared: bool
) -> tuple[str, str]:
    """Time the paths on CUDA over ``segments``, forward and backward; return the fastest one's name, and the times.

    ``config`` is the model's text configuration, ``manner`` that of its layers which do most besides a softmax, in the
    run's longest row; ``shared`` says that some pass of the run, if not this one, has rows that share a prefix. A path
    that fails here, or disagrees with plain torch, is left out, and why is said; one that would leave ``manner`` to
    plain torch isn't tried. Plain torch, which holds the scores of whole rows, is what is left where no other runs, and
    isn't timed. Where layers differ in their heads, a path has to do for all of them, and the widest are timed.
    """
    if manner.sinks is not None:
        return PARTS, "attention by parts, in plain torch, slowly: this model's has sinks"
    paths: dict[str, Path] = {FLEX: by_flex}
    if not shared and dtype != torch.float32 and varlen_takes(manner):
        paths[VARLEN] = by_varlen
    kinds = heads.kinds(config)
    # Paths are compared on the run's rows cut short and on a pass of few tokens, and timed on the run's own rows.
    short = Segments(tuple(min(length, _COMPARED) for length in segments.lengths), segments.parents)
    few = _FEW if shared else Segments(_FEW.lengths)
    times: dict[str, float] = {}
    without: list[str] = []
    for name, path in paths.items():
        try:
            if not all(
                attention.agrees(path, *_drawn(kind, some, dtype), some, _APART, one)
                for kind in kinds
                for some in (short, few)
                for one in _compared(manner, some)
            ):
                without.append(f"{attention.short(name)} disagrees with plain torch here")
                continue
            times[name] = _timed(path, _drawn(kinds[-1], segments, dtype), segments, kinds[-1].width ** -0.5, manner)
        except torch.OutOfMemoryError:  # it says nothing of the path
            raise
        except (
            RuntimeError,
            ImportError,
            AssertionError,
            TypeError,
            ValueError,
            KeyError,
        ) as error:  # not on this card
            without.append(f"{attention.short(name)} doesn't run here ({first_line(error)[:_WORDS]})")
    _give_back()
    if not times:
        return PARTS, "; ".join(["attention by parts, in plain torch, slowly", *without])
    best = min(times, key=times.__getitem__)
    said = ", ".join(f"{attention.short(name)} {1e3 * seconds:.2f} ms" for name, seconds in times.items())
    attention.register({name: paths[name] for name in times})
    return best, "; ".join([f"attention by {attention.short(best)}: measured a layer: {said}", *without])


def _compared(manner: Manner, segments: Segments) -> list[Manner]:
    """In which manners a path is compared: plainly, and as the model has it, with a window that rows go beyond."""
    if manner.plain:
        return [PLAIN]
    window = manner.window and min(manner.window, max(1, segments.longest // 2))
    return [PLAIN, replace(manner, window=window)]


def _give_back() -> None:
    """Return what the comparison took to the card, and let the run's own peak be measured."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _drawn(kind: heads.Heads, segments: Segments, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    counts, tokens = (kind.queries, kind.keys, kind.keys), sum(segments.lengths)
    q, k, v = (torch.randn(1, count, tokens, kind.width, dtype=dtype, device="cuda") for count in counts)
    return q, k, v


def _timed(path: Path, start: Sequence[Tensor], segments: Segments, scale: float, manner: Manner) -> float:
    seconds = float("inf")
    for _ in range(_ROUNDS):
        q, k, v = (tensor.detach().requires_grad_() for tensor in start)
        torch.cuda.synchronize()
        begun = time.perf_counter()
        path(q, k, v, segments, scale, manner).sum().backward()
        torch.cuda.synchronize()
        seconds = min(seconds, time.perf_counter() - begun)
    return seconds


def _blocks(mask: Callable[..., Tensor], size: int, device: torch.device) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    # Uncompiled, torch would build the whole mask first. On a CPU, in the tests, there is no compiler to count on.
    return create_block_mask(mask, None, None, size, size, device=device, _compile=device.type == "cuda")


@cache
def _compiled(device: str) -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    if device != "cuda":
        return flex_attention
    import torch._dynamo

    # Forms differ by gradients wanted or not, windows, caps and short passes. Past the limit torch would compute it
    # uncompiled, with all scores, and say so in the log only.
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    return torch.compile(flex_attention, dynamic=True)
