"""Immutable folders with a manifest, named ``name@vN``: how datasets, models and rounds are kept.

An artifact is filled in a scratch folder, its manifest is written last and synced, then the folder is renamed into
place: a folder that is there is whole, and a crash or a full disk leaves nothing but the scratch folder behind.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from honed.errors import StoreError
from honed.store.workspace import Workspace, sync_file, writing
from honed.version import __version__

Kind = Literal["datasets", "models", "rounds"]
MANIFEST = "manifest.json"
_DECLARED = ("licences", "use", "licence_conflicts")
"""Facts that people declare. They aren't in the files, so that the hash doesn't tell when they change."""
_LEFT_SECONDS = 86_400.0
"""How long nothing in a draft has changed whose process must be gone, on a shared disk's clock too."""
_TRIES = 1000
"""How often a draft's folder is made: another draft of the name may take it away as it ends."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Manifest(BaseModel):
    """What an artifact is and where it came from. ``parents`` maps refs to their content hashes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    name: str
    version: int
    hash: str
    parents: Mapping[str, str]
    config: Mapping[str, Any]
    facts: Mapping[str, Any]
    honed: str
    created: str


@dataclass(frozen=True)
class Artifact:
    """A whole artifact: its folder and its manifest."""

    path: Path
    manifest: Manifest

    @property
    def ref(self) -> str:
        """``name@vN``."""
        return f"{self.manifest.name}@v{self.manifest.version}"


def check_name(kind: Kind, name: str) -> None:
    """Raise ``StoreError`` if no folder can have the name: worth asking before hours of work for it."""
    if not _NAME.fullmatch(name):
        raise StoreError(
            f"{name!r} can't be a name of {kind}",
            "Use lower-case letters, digits, '.', '_', '-', with a letter or digit first; 64 at most.",
        )


@contextmanager
def draft(workspace: Workspace, kind: Kind, name: str) -> Iterator[Path]:
    """Yield a scratch folder to fill, then ``publish``; it is removed whatever happens. Checks the name first."""
    check_name(kind, name)
    home = getattr(workspace, kind) / name
    with writing(home):
        scratch = _scratch(home)
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            with suppress(OSError):  # it isn't empty, or another process was faster
                home.rmdir()


def _scratch(home: Path) -> Path:
    """Make a draft's folder, and remove those of processes that were killed: nothing in them has changed for a day."""
    with suppress(OSError):
        for left in home.glob(".draft-*"):
            if time.time() - max(path.stat().st_mtime for path in (left, *left.rglob("*"))) > _LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    for more in reversed(range(_TRIES)):
        try:
            home.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=".draft-", dir=home))
        except (FileNotFoundError, FileExistsError):  # a draft that has just ended took the folder away
            if not more:
                raise
    raise AssertionError("the last try returns or raises")


def publish(
    scratch: Path, kind: Kind, *, parents: Mapping[str, str], config: Mapping[str, Any], facts: Mapping[str, Any]
) -> Artifact:
    """Hash the files of a ``draft``, write the manifest last, and rename the folder to the next free version.

    Content equal to the newest version's returns that version instead: the same data imported twice is one version,
    unless another licence or use is declared for it.
    """
    home = scratch.parent
    content = content_hash(scratch)
    newest = max(_versions(home), default=0)
    if newest:
        last = read(home / f"v{newest}")
        declared = all(last.manifest.facts.get(name) == facts.get(name) for name in _DECLARED)
        if declared and last.manifest.hash == content:
            return last
    for version in range(newest + 1, newest + 1000):
        manifest = Manifest(
            kind=kind,
            name=home.name,
            version=version,
            hash=content,
            parents=parents,
            config=config,
            facts=facts,
            honed=__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        _write_synced(scratch / MANIFEST, manifest.model_dump_json(indent=2))
        try:
            scratch.rename(home / f"v{version}")
        except OSError:
            if not (home / f"v{version}").exists():
                raise
            continue  # another process took this version
        sync_file(home)
        return Artifact(home / f"v{version}", manifest)
    raise AssertionError(f"no free version below {home}")


def resolve(workspace: Workspace, kind: Kind, ref: str) -> Artifact:
    """Return the artifact ``name@vN``, or the newest version of ``name``.

    Raises ``StoreError`` naming the nearest, or for a file in the place of a dataset the command that makes it one.
    """
    name, at, version = ref.partition("@")
    home: Path = getattr(workspace, kind)
    versions = _versions(home / name) if _NAME.fullmatch(name) else ()  # a path would lead to another workspace
    if not versions:
        known = [path.name for path in home.iterdir() if _versions(path)] if home.exists() else []
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(known)) or 'none yet'}."
        if kind == "datasets":
            hint = _importing(ref, known) or hint
        raise StoreError(f"there is no {kind.removesuffix('s')} {name!r} in {workspace.path}", hint)
    if not at:
        return read(home / name / f"v{max(versions)}")
    if version not in {f"v{number}" for number in versions}:
        raise StoreError(f"there is no {ref}", f"Versions of {name}: {', '.join(f'v{n}' for n in versions)}.")
    return read(home / name / version)


def _importing(ref: str, known: Sequence[str]) -> str:
    """How a file, or a dataset of the hub, becomes one of the workspace; "" if it is neither, or is there already."""
    hub = ref.startswith("hub:")
    stem = re.split("[.:@]", ref.removeprefix("hub:").rpartition("/")[2])[0]
    name = re.sub(r"[^a-z0-9_-]+", "-", stem.lower()).strip("-_")[:64] or "data"
    if name in known or not (hub or Path(ref).is_file()):
        return ""
    what = "a dataset of the hub" if hub else "a file"
    return f"That is {what}. Import it: honed data import {shlex.quote(ref)} --as {name}; the dataset is then {name!r}."


def listing(workspace: Workspace, kind: Kind) -> list[Artifact]:
    """Return every whole artifact of a kind, by name and version."""
    home: Path = getattr(workspace, kind)
    folders = sorted(home.iterdir()) if home.exists() else []
    return [read(folder / f"v{version}") for folder in folders for version in _versions(folder)]


def read(path: Path) -> Artifact:
    """Read the artifact in ``path``. Raises ``StoreError`` if its manifest is missing or damaged."""
    try:
        return Artifact(path, Manifest.model_validate_json((path / MANIFEST).read_bytes()))
    except (OSError, ValidationError) as error:
        raise StoreError(f"{path / MANIFEST}: missing or damaged", "Restore it, or remove the folder.") from error


def content_hash(folder: Path) -> str:
    """Return the SHA-256 over the names and bytes of every file below ``folder``, the manifest left out."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST):
        with path.open("rb") as file:
            total.update(f"{path.relative_to(folder)}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def sync_tree(folder: Path) -> None:
    """Flush every file below ``folder`` and the folder itself to the disk, so that a rename means a whole copy."""
    for path in folder.rglob("*"):
        sync_file(path)
    sync_file(folder)


def _versions(home: Path) -> Sequence[int]:
    if not home.is_dir():
        return []
    return sorted(int(path.name[1:]) for path in home.iterdir() if re.fullmatch(r"v[1-9]\d*", path.name))


def _write_synced(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    sync_tree(path.parent)
