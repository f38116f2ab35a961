"""What this machine is, and which device and precision suit it. The machine's facts are read without torch."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

from honed.errors import ModelError
from honed.jobs import limits
from honed.records import Record

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16"]

_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")

_PROBES = ((1024, 576, 1536), (1024, 1536, 1536))
"""(rows, inner, columns) of the products that are timed: a 135M model's feed-forward layer, and a bigger one."""

_SLICE = 128
_SLOW_SECONDS = 0.02
"""A slice of ``_SLICE`` rows that takes longer than this is the measure; else the whole product is timed."""

_WORTH = 1.15
"""bf16 must be faster by this factor: below it, its rounding isn't worth it."""


class Gpu(Record):
    """One accelerator: its name and its memory in bytes."""

    name: str
    memory: int


class Torch(Record):
    """What torch is and sees here."""

    version: str
    threads: int
    gpus: tuple[Gpu, ...]
    mps: bool


class Machine(Record):
    """The machine: ``cores`` and ``memory`` are what this process may use, sizes are bytes, ``flags`` matter for speed.

    ``memory_free`` is what no process holds, this one included, of the machine and under every limit.
    ``torch`` is None where it wasn't asked for or isn't installed.
    """

    cpu: str
    cores: int
    memory: int
    memory_free: int
    disk_free: int
    flags: tuple[str, ...]
    torch: Torch | None = None


def hardware(folder: Path) -> Machine:
    """Return the machine's facts without torch; ``disk_free`` is that of ``folder``, which need not exist."""
    memory = psutil.virtual_memory()
    limit, left = limits.memory()
    below = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    cpu, flags = _cpu()
    return Machine(
        cpu=cpu,
        cores=limits.cores(),
        memory=min(memory.total, limit),
        memory_free=min(memory.available, left),
        disk_free=shutil.disk_usage(below).free,
        flags=flags,
    )


def describe(folder: Path) -> Machine:
    """Return ``hardware(folder)`` with what torch sees added, if torch is installed."""
    machine = hardware(folder)
    try:
        import torch
    except ImportError:
        return machine
    gpus = tuple(
        Gpu(name=torch.cuda.get_device_name(index), memory=torch.cuda.get_device_properties(index).total_memory)
        for index in range(torch.cuda.device_count())
    )
    seen = Torch(
        version=torch.__version__, threads=torch.get_num_threads(), gpus=gpus, mps=torch.backends.mps.is_available()
    )
    return machine.model_copy(update={"torch": seen})


def gpus() -> int:
    """Return how many NVIDIA GPUs this process may use, found out without torch: those named, else those there."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return len([one for one in named.split(",") if one.strip() not in ("", "-1")])
    return _listed()


def _listed() -> int:
    """How many GPUs nvidia-smi lists, if it is there."""
    if shutil.which("nvidia-smi") is None:
        return 0
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def choose_device(wish: str) -> str:
    """Return the device for ``wish``: ``auto`` is the first of cuda, mps, cpu that is here.

    Raises ``ModelError`` for a device that isn't here, or isn't one.
    """
    import torch

    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wish == "auto":
        return next(name for name, there in here.items() if there)
    if wish not in here:
        raise ModelError(f"there is no device {wish!r}", f"Devices: auto, {', '.join(here)}.")
    if not here[wish]:
        raise ModelError(f"torch {torch.__version__} sees no {wish} device here", "Use auto, or see: honed doctor")
    return wish


def choose_for_training(wish: str) -> tuple[str, str]:
    """As ``choose_device``, and what is to be said of it: ``auto`` leaves a Mac's mps alone, and a GPU unseen."""
    device = choose_device(wish)
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1")  # by who set it
    if device == "cpu" and wish == "auto" and not hidden and _listed():
        return device, "device cpu: there is a GPU here (nvidia-smi lists it), and torch can't use it: see honed doctor"
    if device != "mps":
        return device, ""
    fault = "torch's matrix products on mps can be wrong without a word (github.com/pytorch/pytorch/issues/193487)"
    if wish == "auto":
        return "cpu", f"device cpu: {fault}; device: mps takes it all the same"
    return device, f"device mps, as it was set or chosen at first: {fault}; compare its losses with a run on the CPU"


def limit_threads() -> None:
    """Let torch compute in this process on no more threads than there are cores for, unless the user said how many.

    It counts the cores that it may run on, and knows of no quota; jobs are told before they start (``jobs.launch``).
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ and limits.cores() < torch.get_num_threads():
        torch.set_num_threads(limits.cores())


def faster_precision(device: str) -> tuple[Precision, str]:
    """Time matrix products on ``device`` in fp32 and bf16 (under a second) and return the better and the reason."""
    import torch

    if device == "cuda" and torch.cuda.get_device_capability() < (8, 0):
        return "fp32", "this GPU has no bf16 units"
    rates = {name: _rate(device, dtype) for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))}
    best: Precision = "bf16" if rates["bf16"] >= _WORTH * rates["fp32"] else "fp32"
    measured = " and ".join(f"{name} {rate / 1e9:,.0f} GFLOP/s" for name, rate in rates.items())
    return best, f"measured on {device}: {measured}"


def clocked(action: Callable[[], object], device: str) -> float:
    """Return the seconds of an action on ``device``. A GPU is waited for: it works on when Python has gone on."""
    import torch

    wait = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}.get(device, lambda: None)
    wait()
    start = time.perf_counter()
    action()
    wait()
    return time.perf_counter() - start


def _rate(device: str, dtype: torch.dtype) -> float:
    """FLOP/s over the probes. Where bf16 is emulated, a slice of each product is enough and all there is time for."""
    import torch

    work, seconds = 0.0, 0.0
    with torch.inference_mode():
        few = torch.ones(_SLICE, _SLICE, dtype=dtype, device=device)
        _timed(device, few, few)  # the first product of all starts the device's library
        for rows, inner, columns in _PROBES:
            left = torch.ones(rows, inner, dtype=dtype, device=device)
            right = torch.ones(columns, inner, dtype=dtype, device=device)
            used = _SLICE
            took = _timed(device, left[:used], right)
            if took < _SLOW_SECONDS:
                used = rows
                _timed(device, left, right)  # the first call picks the kernel and lays the weights out
                took = min(_timed(device, left, right) for _ in range(3))
            work, seconds = work + 2.0 * used * inner * columns, seconds + took
    return work / seconds


def _timed(device: str, left: torch.Tensor, right: torch.Tensor) -> float:
    import torch

    return clocked(lambda: torch.nn.functional.linear(left, right), device)


def _cpu() -> tuple[str, tuple[str, ...]]:
    lines = [line.partition(":") for line in _read(Path("/proc/cpuinfo")).splitlines()]
    facts = {key.strip().lower(): value.strip() for key, _, value in lines}
    words = set((facts.get("flags") or facts.get("features") or "").split())
    name = facts.get("model name") or platform.processor() or platform.machine()
    return name, tuple(flag for flag in _CPU_FLAGS if flag in words)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
