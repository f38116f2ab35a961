"""What this process may use of the machine's cores and memory, by the limits of its control groups too.

Containers, systemd and batch systems (SLURM) limit groups of processes; a group's limit holds for all groups in it.
Version 2 tells of a group in one folder, version 1 in one for each controller; both may be in use at once. See the
kernel's documents "Control Group v2", "Memory Resource Controller" and "CFS Bandwidth Control", and cgroups(7).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

NO_LIMIT = 2**63

_ROOT = Path("/sys/fs/cgroup")
_GROUPS = Path("/proc/self/cgroup")


class _Files(NamedTuple):
    """Where a version tells of a group's memory: its controller's folder, two files, two lines of ``memory.stat``."""

    controller: str
    limit: str
    used: str
    cached: tuple[str, str]


_MEMORY = (
    _Files("", "memory.max", "memory.current", ("inactive_file", "active_file")),
    _Files("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
)


_OF_A_PROCESS = 300_000_000
"""Bytes that a process that reads rows may take, pieces of rows included; without any it takes 90 MB."""


def cores() -> int:
    """Return how many cores this process may use: those it may run on, and no more than its groups' quotas pay for."""
    return max(1, min([runs_on(), *_quotas()]))


def processes() -> int:
    """Return how many processes of a job work beside one another: one a core, as far as there is memory for them."""
    free = min(psutil.virtual_memory().available, memory()[1])
    return max(1, min(cores(), free // _OF_A_PROCESS))


def runs_on() -> int:
    """Return how many cores this process may run on, be it for a part of the time only."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> tuple[int, int]:
    """Return the least limit on this process's groups and the least that is left under one, in bytes.

    What a group holds of files is left: it makes room when memory is wanted, as the ``MemAvailable`` of a whole machine
    counts it (proc_meminfo(5)). Where there is no limit, both are ``NO_LIMIT``.
    """
    limits = [(NO_LIMIT, NO_LIMIT)]
    for files in _MEMORY:
        for group in _groups(files.controller):
            stated = _read(group / files.limit)
            if stated.isdigit():
                limits.append((int(stated), max(0, int(stated) - _used(group, files))))
    return min(limit for limit, _ in limits), min(left for _, left in limits)


def _used(group: Path, files: _Files) -> int:
    """Bytes that a group holds of anything but files; 0 where it doesn't say."""
    used = _read(group / files.used)
    told = dict(line.partition(" ")[::2] for line in _read(group / "memory.stat").splitlines())
    return max(0, int(used) - sum(int(told.get(name, 0)) for name in files.cached)) if used.isdigit() else 0


def _quotas() -> Iterator[int]:
    """The whole cores that each group's quota pays for, where it has one."""
    told = [_read(group / "cpu.max").split() for group in _groups("")]
    told += [[_read(group / f"cpu.cfs_{name}_us") for name in ("quota", "period")] for group in _groups("cpu")]
    for pair in told:
        if len(pair) == 2 and all(number.isdigit() and int(number) for number in pair):
            yield int(pair[0]) // int(pair[1])


def _groups(controller: str) -> Iterator[Path]:
    """The folders of this process's group and those above it; version 2 has no controllers, and its name is empty.

    In a container the paths may be those of the host, of which only the last folder is there: the container's own.
    """
    for line in _read(_GROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            names = [name for name in path.split("/") if name not in ("", "..")]
            yield from (_ROOT.joinpath(controller, *names[:depth]) for depth in range(len(names), -1, -1))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
