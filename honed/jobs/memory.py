"""The most memory that a process has held, as the system counts it."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes of ``ru_maxrss``, see getrusage(2) of each system."""


def peak() -> int:
    """Return the most bytes that this process has held so far.

    Not by ``ru_maxrss`` where Linux tells ``VmHWM``: the former goes on, over exec, from what started this process,
    so that a worker would have held what the notebook that started it does (getrusage(2), proc_pid_status(5)).
    """
    try:
        told = re.search(r"^VmHWM:\s*(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        told = None
    return int(told[1]) * 1024 if told else _UNIT * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def peak_of_children() -> int:
    """Return the same of the largest process that this one started and that has ended; 0 if there was none."""
    return _UNIT * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
