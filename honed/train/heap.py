"""Freed memory stays with the process: giving it back to the system costs a page fault for every 4 kB of the next step.

A training step frees its activations and asks for the same again. glibc returns a large block to the system at once
(it was mapped by itself), and the end of the heap as soon as it is free; the next step then has hundreds of thousands
of faults, 2 to 3 microseconds each on a virtual machine. See mallopt(3): M_MMAP_MAX, M_TRIM_THRESHOLD.

An aligned block is cut out of a larger one, and the shavings go to lists of small blocks that aren't joined to anything
(mallopt(3): M_MXFAST; the tunable glibc.malloc.tcache_count): freed again, the block is too small for the next one of
its own size. In some runs, by chance, a backward pass grew the heap by every gradient that it made on its way. So
workers that train start without those lists (``jobs.launch``), and what stays lies outside of the heap (``lasting``).

Passes of many sizes leave holes, and what is kept grows from step to step; ``Holes`` gives them back now and then.

oneDNN, which has the products in 16 bits, makes a kernel for every size of a product, and it and torch each keep the
last 1,024 of them, of some 0.3 to 0.6 MB: passes of ever new sizes fill both (``keep_few_kernels``).
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import sys
from collections.abc import Callable

import psutil
import torch
from torch import Tensor

from honed.jobs import launch

_TRIM_THRESHOLD = -1
_MMAP_MAX = -4
_KERNELS = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""How many kernels oneDNN keeps, and how many of them torch does; each reads it before its first product."""
_FEW = 128
"""A pass has some 20 to 25 sizes of products, each used once a layer; where plain torch does attention, some more for
each length of a row. Those of all layers must fit, or each would have its kernels made anew."""
_LARGE = 1 << 15
"""Numbers of a tensor that is worth pages of its own."""

GROWN = 1.1
"""How much more than at its least the process holds when the holes are given back."""


def keep_freed_memory() -> str:
    """Let the allocator keep what is freed, from now on; return how it is kept, nothing if it can't be (glibc can).

    What this process was started with isn't for those that it starts in turn.
    """
    if not sys.platform.startswith("linux"):
        return ""
    said = os.environ.get(launch.TUNABLES, "")
    whole = launch.WHOLE_BLOCKS in said
    if whole:
        os.environ[launch.TUNABLES] = said.replace(launch.WHOLE_BLOCKS, "").strip(":")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # -1 is the largest size there is: the heap is never trimmed. musl has the function's name at most: it returns 0.
    if mallopt is None or not mallopt(_MMAP_MAX, 0) or not mallopt(_TRIM_THRESHOLD, -1):
        return ""
    return "kept by the process" + (", in whole blocks" if whole else "")


def keep_few_kernels() -> None:
    """Let oneDNN and torch keep the kernels of a few passes, not those of forty. What the user has set stands.

    The next pass has other sizes, so as many are made anew either way (counted by ``ONEDNN_VERBOSE=profile_create``).
    """
    for name in _KERNELS:
        os.environ.setdefault(name, str(_FEW))


def lasting(like: Tensor) -> Tensor:
    """Return an fp32 tensor of a tensor's shape, of any content, outside of the heap: what stays would part its blocks.

    Write to it before you read it: a page that is read first is the system's page of zeros, and at the first write
    another fault; with several threads at that, a gigabyte takes two seconds and not 0.4 (measured on two cores).
    """
    if like.device.type != "cpu" or like.numel() < _LARGE or not sys.platform.startswith("linux"):
        return torch.empty_like(like, dtype=torch.float32, requires_grad=False)
    size = like.numel() * torch.float32.itemsize
    try:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"{size / 1e6:.0f} MB can't be had: {error.strerror}") from error
    return torch.frombuffer(memory, dtype=torch.float32).view(like.shape)  # it keeps the mapping


class Holes:
    """Memory that is kept and used by nothing: pages between blocks, given back when they have grown to a tenth."""

    def __init__(self) -> None:
        self._least = 0
        self._trim = _trimming()

    def after_step(self) -> None:
        """Compare what the process holds with what it held a step after they were given back last (malloc_trim(3)).

        The step that follows has its page faults again, one in many.
        """
        if self._trim is None:
            return
        now = _resident()
        if not self._least:
            self._least = now
        elif now > GROWN * self._least:
            self._trim(0)
            self._least = 0


def give_back() -> None:
    """Return what is kept and used by nothing to the system, once."""
    if trim := _trimming():
        trim(0)


def _trimming() -> Callable[[int], int] | None:
    """malloc_trim(3), where there is one."""
    found: Callable[[int], int] | None = None
    if sys.platform.startswith("linux"):
        found = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return found


def _resident() -> int:
    """Bytes of memory that the process holds."""
    return int(psutil.Process().memory_info().rss)


def brief(shape: torch.Size | tuple[int, ...], like: Tensor, turn: int = 1) -> Tensor:
    """Return an uninitialised tensor that won't be kept, whose place will then fit another one of its shape.

    glibc looks for an aligned block with room to move it in (posix_memalign(3) of 64 bytes: 104 more), so one that was
    just freed is too small for its like, and every tensor that is dropped among some that are kept leaves a hole: a
    fifth of what a forward pass keeps, measured. A little more at the end mends that. Of two that are to follow one
    another in one place, the first has the larger ``turn``.
    """
    size = math.prod(shape)
    # Detached, it is no view: of what a custom function of autograd returns, a model may change no view in its place.
    return torch.empty(size + 64 * turn, dtype=like.dtype, device=like.device)[:size].view(shape).detach()
