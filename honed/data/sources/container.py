"""What a file is, told by its content: gzip or plain; JSON array, JSON object, JSON lines or Parquet."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from gzip import BadGzipFile, GzipFile
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import Literal

from honed.data.sources.row import CutError, Meter
from honed.data.sources.where import walk
from honed.errors import DataError

Kind = Literal["JSON array", "JSON object", "JSON lines", "Parquet", "nothing known"]

_CHUNK = 2**20
_HEAD = 2**16
_BOM = b"\xef\xbb\xbf"
_ROW_KEYS = frozenset({"messages", "conversations", "instruction", "prompt", "question", "query"})
_FOREIGN = {
    b"PK\x03\x04": "a zip archive",
    b"\xfd7zXZ": "packed with xz",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
    b"BZh": "packed with bzip2",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"\x93NUMPY": "a NumPy array",
    b"ARROW1": "an Arrow file",
    b"SQLite": "a SQLite database",
}


@dataclass(frozen=True)
class Container:
    """An open file: what it is, and its bytes, unpacked, in chunks.

    ``inner`` is for a JSON object: the key whose list holds the rows, or "" if the object itself is the one row.
    ``problem`` says what a file of nothing known is.
    """

    kind: Kind
    packed: bool
    chunks: Iterator[bytes]
    inner: str | None = None
    problem: CutError | None = None

    def __str__(self) -> str:
        inside = f" with the rows under {self.inner!r}" if self.inner else ""
        return f"{self.kind}{inside}{', gzip' if self.packed else ''}"


@contextmanager
def opened(path: Path, file: str, meter: Meter) -> Iterator[Container]:
    """Open ``path``, called ``file`` in messages, and tell what it is. Raises ``DataError`` if it can't be opened."""
    try:
        if path.is_dir():
            raise DataError(f"{file}: a folder, not a file", "Give the files in it: honed data import FOLDER/*.jsonl")
        source = path.open("rb")
    except FileNotFoundError as error:
        raise DataError(f"{file}: no such file", "Check the path; it is read from the current folder.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: can't be opened: {error}", "Check the path and its permissions.") from error
    with source:
        meter.total = path.stat().st_size
        yield _told(source, path.suffixes, meter)


def _told(source: BufferedReader, suffixes: list[str], meter: Meter) -> Container:
    magic = source.read(6)
    source.seek(0)
    packed = magic.startswith(b"\x1f\x8b")
    chunks = _chunks(source, packed, meter)
    head, cut = _head(chunks)
    nothing = _not_text(head, packed)
    if nothing or (head.startswith(b"PAR1") and not packed):
        return Container("nothing known" if nothing else "Parquet", packed, chunks, problem=nothing)
    head = head.removeprefix(_BOM)
    kind, inner = _text(head[:_HEAD].decode(errors="replace"), len(head) < _HEAD, _named_lines(suffixes))
    if kind == "nothing known" and not head.strip():
        nothing = cut or CutError("empty file", "the file is empty", "Give a file with rows in it.")
    elif kind == "nothing known":
        nothing = cut or _unknown(f"a file that begins with {head[:24].decode(errors='replace')!r}")
    return Container(kind, packed, chain([head], _raising(cut) if cut else chunks), inner, nothing)


def _head(chunks: Iterator[bytes]) -> tuple[bytes, CutError | None]:
    """Take chunks until there is enough to tell by; also return what stopped them before their time."""
    head = b""
    try:
        while len(head) < _HEAD and (chunk := next(chunks, b"")):
            head += chunk
    except CutError as cut:
        return head, cut
    return head, None


def _not_text(head: bytes, packed: bool) -> CutError | None:
    for start, what in _FOREIGN.items():
        if head.startswith(start):
            return _unknown(what)
    if head.startswith(b"PAR1") and packed:
        return CutError("not data", "a Parquet file packed with gzip", "Unpack it first: gunzip FILE.")
    return None


def _chunks(source: BufferedReader, packed: bool, meter: Meter) -> Iterator[bytes]:
    """Yield the bytes as they come; a damaged file gives all of its sound bytes before ``CutError`` is raised."""
    stream = GzipFile(fileobj=source) if packed else source
    try:
        while chunk := stream.read1(_CHUNK):
            meter.done = source.tell()
            yield chunk
    except EOFError as error:
        hint = "Copy or download the file again; what stands before is read."
        raise CutError("truncated gzip", "the gzip file ends here, before its end mark", hint) from error
    except (BadGzipFile, zlib.error) as error:
        raise CutError(
            "damaged gzip", f"the gzip file is damaged here: {error}", "Copy or download it again."
        ) from error
    except OSError as error:
        raise CutError("unreadable", f"can't be read on: {error.strerror}", "Copy the file from its source.") from error


def _raising(cut: CutError) -> Iterator[bytes]:
    raise cut
    yield b""  # makes this a generator: it raises when it is read, not when it is made


def _named_lines(suffixes: list[str]) -> bool:
    return bool({".jsonl", ".ndjson"} & {suffix.lower() for suffix in suffixes})


def _text(head: str, whole: bool, lines: bool) -> tuple[Kind, str | None]:
    """Tell what kind of JSON text starts with ``head``; ``whole``: that is all of it."""
    start = head.lstrip(" \t\r\n")
    if start.startswith("["):
        return "JSON array", None
    complete = [line.strip() for line in (head if whole else head[: head.rfind("\n") + 1]).split("\n")]
    complete = [line for line in complete if line]
    if not start.startswith("{"):
        some = (lines and start) or any(line[0] == "{" for line in complete)
        return ("JSON lines" if some else "nothing known"), None
    if len(complete) > 1 and _is_object(complete[0]):
        return "JSON lines", None
    inner = _list_key(head)
    if inner is not None:
        return "JSON object", inner
    if lines or len(complete) < 2 or complete[1].startswith("{") or any(map(_is_object, complete)):
        return "JSON lines", None
    return "JSON object", ""


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _list_key(head: str) -> str | None:
    """Return the first key of an object whose value is a list of objects, unless the object is a row itself."""
    last = ""
    for path, offset in walk(head):
        if len(path) == 1:
            last = str(path[0])
            if last in _ROW_KEYS:
                return None
        elif path == (last, 0) and head[offset] == "{":
            return last
    return None


def _unknown(what: str) -> CutError:
    hint = "Give JSON, JSON lines (plain or gzip) or Parquet."
    return CutError("not data", f"not JSON, JSON lines or Parquet but {what}", hint)
