"""C sources of this folder, each compiled once on this machine by its own compiler."""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from honed.models import cache as folders

_FLAGS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")
_SECONDS = 120
"""How long the compiler may take; it takes one or two."""


class UnavailableError(Exception):
    """There is no kernel here; the message says why, for a user to read."""


def load(source: Path) -> ctypes.CDLL:
    """Return a compiled source, from the cache of this user or made now. Raises ``UnavailableError``."""
    try:
        return ctypes.CDLL(str(_compiled(source)))
    except OSError as error:
        raise UnavailableError(f"the compiled kernel can't be loaded: {error}") from error


def _compiled(source: Path) -> Path:
    """Return the shared library of this source, compiler and processor."""
    command = shlex.split(os.environ.get("CC", "")) or ["cc"]
    if not shutil.which(command[0]):
        raise UnavailableError(f"there is no C compiler ({command[0]})")
    version = _run([*command, "--version"])
    made_of = "\0".join([source.read_text("utf-8"), *_FLAGS, *command, version, _processor()])
    path = folders.home() / "kernels" / f"{source.stem}-{sha256(made_of.encode()).hexdigest()[:16]}.so"
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:  # the ranks of a run may all be here at once
            made = Path(folder) / path.name
            _run([*command, *_FLAGS, "-o", str(made), str(source), "-lm"])
            made.replace(path)
    except OSError as error:
        raise UnavailableError(f"{path.parent} can't be written: {error.strerror}") from error
    return path


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"the C compiler ({command[0]}) can't be run: {error}") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise UnavailableError(f"the C compiler ({command[0]}) failed: {lines[-1] if lines else done.returncode}")
    return done.stdout


def _processor() -> str:
    """What ``-march=native`` depends on: a home folder may be shared by unlike machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    told = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return "\n".join(sorted(set(told)))
