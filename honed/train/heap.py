"""Freed memory stays with the process: giving it back to the system costs a page fault for every 4 kB of the next step.

A training step frees its activations and asks for the same again. glibc returns a large block to the system at once
(it was mapped by itself), and the end of the heap as soon as it is free; the next step then has hundreds of thousands
of faults, 2 to 3 microseconds each on a virtual machine. See mallopt(3): M_MMAP_MAX, M_TRIM_THRESHOLD.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD = -1
_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Let the allocator keep what is freed, from now on; return whether it could be told to (glibc can)."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # -1 is the largest size there is: the heap is never trimmed. musl has the function's name at most: it returns 0.
    return mallopt is not None and bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, -1))
