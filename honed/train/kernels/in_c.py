"""RMSNorm and SwiGLU on a CPU: in C (elementwise.c), called.

Each is one pass over memory where torch makes five to ten, most of them copies between bf16 and fp32. Whether they may
be used is found out once a run (``choice``); what they don't take, torch computes.
"""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from honed.train import heap
from honed.train.kernels import compiler

SOURCE = Path(__file__).with_name("elementwise.c")

_BLOCK = 32
"""As in elementwise.c: rows whose share of a weight's gradient is summed by one thread."""


@cache
def library() -> ctypes.CDLL:
    """Return the compiled kernels. Raises ``compiler.UnavailableError``."""
    loaded = compiler.load(SOURCE)
    rows = [c_int32, c_int64, c_int64]
    loaded.honed_norm.argtypes = [*rows, c_void_p, c_void_p, c_float, c_int32, c_void_p, c_void_p]
    loaded.honed_norm_back.argtypes = [*rows, *[c_void_p] * 7]
    loaded.honed_swiglu.argtypes = [*rows, *[c_void_p] * 3]
    loaded.honed_swiglu_back.argtypes = [*rows, *[c_void_p] * 6]
    for name in ("norm", "norm_back", "swiglu", "swiglu_back"):
        getattr(loaded, f"honed_{name}").restype = None
    return loaded


def norm(x: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Return RMSNorm of x (... x D) by weight (D,), and 1 / root mean square of each row (... x 1, fp32)."""
    out = heap.brief(x.shape, x)
    inverse = torch.empty(*x.shape[:-1], 1, dtype=torch.float32)
    places = x.data_ptr(), weight.data_ptr(), epsilon, 0, inverse.data_ptr(), out.data_ptr()
    library().honed_norm(*_rows(x), *places)
    return out, inverse


def norm_again(x: Tensor, weight: Tensor, inverse: Tensor) -> Tensor:
    """Return what ``norm`` returned, from what else it returned: the same bits."""
    out = heap.brief(x.shape, x)
    places = x.data_ptr(), weight.data_ptr(), 0.0, 1, inverse.data_ptr(), out.data_ptr()
    library().honed_norm(*_rows(x), *places)
    return out


def norm_back(
    x: Tensor, weight: Tensor, inverse: Tensor, upstream: Tensor, *, learns: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of x and, if it ``learns``, of the weight; ``upstream`` is that of the output."""
    upstream = upstream.contiguous()
    half, rows, width = _rows(x)
    of_x = torch.empty_like(x)
    sums = torch.empty(-(-rows // _BLOCK), width, dtype=torch.float32) if learns else None
    of_weight = torch.empty_like(weight) if learns else None
    tensors = (x, weight, inverse, upstream, of_x, sums, of_weight)
    library().honed_norm_back(half, rows, width, *map(_place, tensors))
    return of_x, of_weight


def swiglu(gate: Tensor, up: Tensor, *, brief: bool = False) -> Tensor:
    """Return silu(gate) x up; all of one shape. ``brief``: it won't be kept."""
    out = heap.brief(gate.shape, gate) if brief else torch.empty_like(gate)
    library().honed_swiglu(*_rows(gate), gate.data_ptr(), up.data_ptr(), out.data_ptr())
    return out


def swiglu_back(
    gate: Tensor, up: Tensor, upstream: Tensor, *, product: bool = False, spare: bool = False
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the gradients of gate and up, and the product itself if it is asked for; that won't be kept.

    ``spare``: nobody needs ``upstream`` any more, so that a gradient may take its place.
    """
    upstream = upstream.contiguous()
    of_gate, of_up = torch.empty_like(gate), upstream if spare else torch.empty_like(up)
    made = heap.brief(gate.shape, gate) if product else None
    library().honed_swiglu_back(*_rows(gate), *map(_place, (gate, up, upstream, of_gate, of_up, made)))
    return of_gate, of_up, made


def _rows(x: Tensor) -> tuple[bool, int, int]:
    """Whether a tensor is bf16, its rows and their width."""
    return x.dtype == torch.bfloat16, x.numel() // x.shape[-1], x.shape[-1]


def _place(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
