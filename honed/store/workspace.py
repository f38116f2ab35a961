"""The workspace: one folder that holds datasets, models, rounds and jobs. Passed explicitly, never ambient."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from honed.errors import StoreError

FORMAT = 1
"""Version of the folder's layout. A workspace of a newer one is refused, never guessed at."""

MARKER = "honed.json"


@dataclass(frozen=True)
class Workspace:
    """A folder with ``honed.json``, ``datasets/``, ``models/`` and ``jobs/``."""

    path: Path

    @property
    def datasets(self) -> Path:
        """Folder of datasets: ``datasets/<name>/v<N>/``."""
        return self.path / "datasets"

    @property
    def models(self) -> Path:
        """Folder of models: ``models/<name>/v<N>/``."""
        return self.path / "models"

    @property
    def rounds(self) -> Path:
        """Folder of rounds: ``rounds/<name>/v<N>/``; made by the first."""
        return self.path / "rounds"

    @property
    def jobs(self) -> Path:
        """Folder of jobs: ``jobs/<id>/``."""
        return self.path / "jobs"

    @property
    def cache(self) -> Path:
        """Folder of what can be computed again; made by the first that needs it, and may be deleted at any time."""
        return self.path / "cache"


def init(path: Path | str) -> Workspace:
    """Make ``path`` a workspace, or return the one that is there. Raises ``StoreError`` if it can't be written."""
    path = Path(path)
    if (path / MARKER).exists():
        return open_at(path)
    with writing(path):
        for folder in ("datasets", "models", "jobs"):
            (path / folder).mkdir(parents=True, exist_ok=True)
        write_whole(path / MARKER, json.dumps({"format": FORMAT}) + "\n")
    return Workspace(path.resolve())


def open_at(path: Path | str) -> Workspace:
    """Open the workspace at ``path``. Raises ``StoreError`` if there is none, or it is of a newer version."""
    path = Path(path)
    marker = path / MARKER
    if not marker.exists():
        raise StoreError(f"{path}: no workspace here", f"Make one: honed init {path}")
    try:
        version = int(json.loads(marker.read_text())["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{marker}: damaged", f'Restore it; its content is {{"format": {FORMAT}}}.') from error
    if version > FORMAT:
        raise StoreError(
            f"{path}: this workspace has format {version}, this honed reads up to {FORMAT}",
            "Upgrade honed (pip install --upgrade honed), or use another workspace.",
        )
    return Workspace(path.resolve())


def find(start: Path) -> Workspace:
    """Open the workspace at ``start`` or in the nearest folder above it.

    Raises ``StoreError`` if there is none, or if it lies above and is another user's: settings there can name programs.
    """
    here = start.resolve()
    for folder in (here, *here.parents):
        if (folder / MARKER).exists():
            if folder != here and not _own(folder / MARKER, here):
                raise StoreError(
                    f"{folder}: a workspace of another user, above {here}",
                    f"If you trust it, name it: --workspace {folder}; else make one here: honed init",
                )
            return open_at(folder)
    raise StoreError(f"{here}: no workspace here or above", "Make one: honed init")


def _own(marker: Path, here: Path) -> bool:
    """Whether this user made it, or who made the folder that the user is in, as where a container's root works."""
    owner = marker.lstat().st_uid  # of a link, who made it
    return owner == os.getuid() or (here.exists() and owner == here.stat().st_uid)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write under ``path`` into a ``StoreError`` that says what is full or forbidden."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        reason = os.strerror(error.errno).lower()
        raise StoreError(
            f"{path}: can't be written: {reason}",
            "Free space or choose another folder; what was there before is intact.",
        ) from error


def write_whole(path: Path, content: str | bytes) -> None:
    """Replace ``path`` with ``content`` so that a reader, or a crash, sees the old file or the new one, never half."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")  # containers have equal numbers
    try:
        with scratch.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            _sync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Flush a file, or what a folder lists, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        _sync(handle)
    finally:
        os.close(handle)


def _sync(handle: int) -> None:
    if hasattr(fcntl, "F_FULLFSYNC"):  # of macOS, whose fsync leaves it to the drive
        with suppress(OSError):
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
            return
    os.fsync(handle)


def lock(file: IO[Any], how: int) -> None:
    """``fcntl.flock``, which waits or raises ``BlockingIOError``; ``StoreError`` where a disk has no locks."""
    try:
        fcntl.flock(file, how)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
        raise StoreError(
            f"{file.name}: this disk has no locks, by which two processes keep out of each other's way",
            "Have it mounted with them (NFS: lockd; Lustre: -o flock), or take another: --workspace, HONED_CACHE.",
        ) from error
