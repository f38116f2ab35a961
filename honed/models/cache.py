"""The cache folder: models made ready once for every workspace, and content hashes that needn't be computed twice."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from honed.records import digest
from honed.store.workspace import lock, write_whole, writing

MODEL_FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")
"""What a model consists of. Everything else in its folder (a README, a pickle) is neither read nor hashed."""

OTHER_WEIGHTS = ("consolidated*", "model.fp[0-9]*", "model.bf16*", "model.safetensors.index.[fb][pf]*.json")
"""The same weights in other formats or types (``model.fp16.safetensors``): neither fetched, read nor hashed."""

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")
"""A model has one of these."""


def home() -> Path:
    """Return ``$HONED_CACHE``, or ``honed`` below ``$XDG_CACHE_HOME`` or ``~/.cache``. It may not exist yet."""
    if chosen := os.environ.get("HONED_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "honed"


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock ``name``, waiting for another process that has it. Raises ``StoreError`` if it can't be made."""
    path = home() / f"{name}.lock"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    with file:
        lock(file, fcntl.LOCK_EX)
        yield


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file; a file whose place, size and times are as they were isn't read again."""
    stat = path.stat()
    memo = home() / "hashes" / digest([str(path.resolve()), stat.st_ino, stat.st_size, stat.st_mtime_ns])
    if memo.exists() and len(known := memo.read_text()) == 64:
        return known
    with path.open("rb") as file:
        fresh = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        write_whole(memo, fresh)
    except OSError:
        return fresh  # a cache that can't be written costs time, nothing else
    return fresh


def of_other_weights(name: str) -> bool:
    """Whether a file holds what ``OTHER_WEIGHTS`` are."""
    return any(fnmatchcase(name, pattern) for pattern in OTHER_WEIGHTS)


def folder_hash(folder: Path, patterns: Sequence[str] = MODEL_FILES) -> str:
    """Return the SHA-256 over the names and bytes of the model's files in ``folder`` that match ``patterns``."""
    found = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    files = sorted(path for path in found if not of_other_weights(path.name))
    lines = "".join(f"{path.name}\0{file_hash(path)}\n" for path in files)
    return hashlib.sha256(lines.encode()).hexdigest()
