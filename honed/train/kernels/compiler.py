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
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from honed.models import cache as folders
from honed.store.workspace import sync_file

_FLAGS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")
_SECONDS = 120
"""How long the compiler may take; it takes one or two."""


class UnavailableError(Exception):
    """There is no kernel here; the message says why, for a user to read."""


def load(source: Path) -> ctypes.CDLL:
    """Return a compiled source, from the cache of this user or made now. Raises ``UnavailableError``."""
    command, name = _wanted(source)
    with suppress(OSError, RuntimeError, UnavailableError):  # no home, a disk that is full, read-only or runs nothing
        folder = folders.home() / f"kernels-{os.getuid()}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _ours(folder):
            if not _ours(folder / name) or not (found := _opened(folder / name)):
                found = ctypes.CDLL(str(_made(command, source, folder / name)))
            return found
    try:
        with tempfile.TemporaryDirectory(prefix="honed-", ignore_cleanup_errors=True) as own:  # what is loaded may go
            return ctypes.CDLL(str(_made(command, source, Path(own) / name)))
    except OSError as error:
        raise UnavailableError(f"the compiled kernel can't be written or loaded: {error}") from error


def _ours(path: Path) -> bool:
    """Whether nobody else can have put there what is about to be run: the cache's folder may be a shared one."""
    try:
        stat = path.lstat()
    except OSError:
        return False
    return stat.st_uid == os.getuid() and not stat.st_mode & 0o022


def _opened(path: Path) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(str(path))
    except OSError:  # cut short, by a crash of the machine
        return None


def _wanted(source: Path) -> tuple[list[str], str]:
    """The compiler, and the name of the shared library of this source, compiler and processor."""
    command = shlex.split(os.environ.get("CC", "")) or ["cc"]
    if not shutil.which(command[0]):
        raise UnavailableError(f"there is no C compiler ({command[0]})")
    version = _run([*command, "--version"])
    made_of = "\0".join([source.read_text("utf-8"), *_FLAGS, *command, version, _processor()])
    return command, f"{source.stem}-{sha256(made_of.encode()).hexdigest()[:16]}.so"


def _made(command: Sequence[str], source: Path, path: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:  # the ranks of a run may all be here at once
        made = Path(folder) / path.name
        _run([*command, *_FLAGS, "-o", str(made), str(source), "-lm"])
        made.chmod(0o700)
        sync_file(made)
        made.replace(path)
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
    told = [line for line in lines if line.startswith(("model name", "flags", "Features", "CPU "))]
    return "\n".join(sorted(set(told)))
