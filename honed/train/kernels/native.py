"""Attention in C (attention.c), called.

Without a C compiler that has OpenMP, and for inputs that the kernel doesn't take, torch's own kernel does the work.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_float, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from honed.train.kernels import compiler

SOURCE = Path(__file__).with_name("attention.c")

_KEYS, _WIDEST, _STEP = 64, 256, 16
"""As in attention.c: keys of a block, the widest head; a head's width must be a multiple of a vector's numbers."""


class _Heads(Structure):
    _fields_ = (("data", c_void_p), ("head", c_int64), ("token", c_int64))


class _Pack(Structure):
    _fields_ = (
        *((name, c_int64) for name in ("segments", "tokens", "heads", "groups", "width")),
        *((name, c_void_p) for name in ("starts", "ends", "parents")),
        ("scale", c_float),
        ("half", c_int32),
    )


@cache
def library() -> ctypes.CDLL:
    """Return the compiled kernel, from the cache of this user or made now. Raises ``compiler.UnavailableError``."""
    loaded = compiler.load(SOURCE)
    loaded.honed_forward.argtypes = [POINTER(_Pack), *[_Heads] * 4, c_void_p, c_void_p]
    loaded.honed_backward.argtypes = [POINTER(_Pack), *[_Heads] * 4, c_void_p, *[_Heads] * 4, c_void_p]
    loaded.honed_forward.restype = loaded.honed_backward.restype = None
    return loaded


@cache
def why_not() -> str:
    """Say why there is no kernel on this machine; nothing if there is one."""
    try:
        library()
    except compiler.UnavailableError as error:
        return str(error)
    return ""


def takes(q: Tensor, v: Tensor) -> bool:
    """Whether the kernel is here and computes inputs like these: fp32 or bf16 of one common width, on a CPU."""
    kind = q.device.type == "cpu" and q.dtype in (torch.float32, torch.bfloat16) and q.shape[3] == v.shape[3]
    return kind and q.shape[0] == 1 and q.shape[3] % _STEP == 0 and q.shape[3] <= _WIDEST and not why_not()


def forward(
    q: Tensor, k: Tensor, v: Tensor, spans: Sequence[tuple[int, int, int]], parents: Sequence[int], scale: float
) -> tuple[Tensor, Tensor]:
    """Return attention (1 x H x T x D) and what ``backward`` needs (H x T: log2 of the sums of its exponentials)."""
    q, k, v = map(_rows, (q, k, v))
    _, heads, tokens, width = q.shape
    pack, blocks, _arrays = _pack(q, k, spans, parents, scale)
    out = q.new_empty(1, tokens, heads, width).transpose(1, 2)  # as the product that follows reads it
    sums = torch.empty(heads, tokens)
    scratch = torch.empty(2 * k.shape[1] * blocks * _KEYS * width)
    library().honed_forward(byref(pack), *map(_heads, (q, k, v, out)), sums.data_ptr(), scratch.data_ptr())
    return out, sums


def backward(  # noqa: PLR0913 - the gradient's inputs
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    sums: Tensor,
    grad: Tensor,
    spans: Sequence[tuple[int, int, int]],
    parents: Sequence[int],
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of queries, keys and values, of their shapes; ``grad`` is that of ``out``."""
    q, k, v, grad = map(_rows, (q, k, v, grad))
    _, heads, tokens, width = q.shape
    pack, blocks, _arrays = _pack(q, k, spans, parents, scale)
    dq, dk, dv = (torch.empty_like(tensor) for tensor in (q, k, v))
    scratch = torch.empty((3 * k.shape[1] * blocks * _KEYS + 2 * heads * tokens) * width)
    library().honed_backward(
        byref(pack),
        *map(_heads, (q, k, v, out)),
        sums.data_ptr(),
        *map(_heads, (grad, dq, dk, dv)),
        scratch.data_ptr(),
    )
    return dq, dk, dv


def _rows(tensor: Tensor) -> Tensor:
    return tensor if tensor.stride(3) == 1 else tensor.contiguous()


def _heads(tensor: Tensor) -> _Heads:
    return _Heads(tensor.data_ptr(), tensor.stride(1), tensor.stride(2))


def _pack(
    q: Tensor, k: Tensor, spans: Sequence[tuple[int, int, int]], parents: Sequence[int], scale: float
) -> tuple[_Pack, int, Any]:
    """Return the kernel's view of a pack, how many blocks of keys it has, and the arrays that it points to."""
    count = len(spans)
    arrays = [
        (c_int64 * count)(*numbers)
        for numbers in ([span[0] for span in spans], [span[1] for span in spans], parents or [-1] * count)
    ]
    _, heads, tokens, width = q.shape
    half = q.dtype == torch.bfloat16
    pack = _Pack(count, tokens, heads, k.shape[1], width, *map(ctypes.addressof, arrays), scale, half)
    return pack, sum(-(-(end - start) // _KEYS) for start, end, _ in spans), arrays
