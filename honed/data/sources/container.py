"""What a file is, told by its content: packed or plain; JSON array, JSON object, JSON lines, CSV, TSV or Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

from honed.data.sources import delimited, packed
from honed.data.sources.packed import Encoding, Packing
from honed.data.sources.row import CutError, Meter
from honed.data.sources.where import walk
from honed.errors import DataError

Kind = Literal["JSON array", "JSON object", "JSON lines", "CSV", "TSV", "Parquet", "hub dataset", "nothing known"]

_HEAD = 2**16
_OF_ROWS = (
    "messages conversations instruction instances input history prompt question query chosen rejected preferred_output "
    "non_preferred_output tools functions annotations predictions"
)
_ROW_KEYS = frozenset(_OF_ROWS.split())
_FOREIGN = {
    b"PK\x03\x04": "a zip archive",
    b"\xfd7zXZ": "packed with xz",
    b"BZh": "packed with bzip2",
    b"\x93NUMPY": "a NumPy array",
    b"ARROW1": "an Arrow file",
    b"SQLite": "a SQLite database",
}
FORMS = "JSON, JSON lines, CSV, TSV (plain, gzip or zstd) or Parquet"


TextForm = Literal["json", "jsonl", "csv", "tsv"]


class Told(NamedTuple):
    """What a file is said to be, where its content isn't to tell: its form, and the delimiter of a CSV file."""

    form: TextForm | None = None
    delimiter: str = ""

    @property
    def problem(self) -> str:
        """What is wrong with what was said, or ""."""
        if self.delimiter and self.form not in (None, "csv"):
            return f"only a CSV file has a delimiter, not {self.form}"
        if self.delimiter and (len(self.delimiter) > 1 or self.delimiter in '"\r\n'):
            return f"a delimiter is one character, and no quote or line end, not {self.delimiter!r}"
        return ""


AS_SEEN = Told()
"""Nothing was said: the content tells."""


@dataclass(frozen=True)
class Container:
    """An open file: what it is, and its text, unpacked and as UTF-8, in chunks.

    ``inner`` is for a JSON object: the key whose list holds the rows, or "" if the object itself is the one row.
    ``delimiter`` is what stands between the fields of a CSV file. ``problem`` says what a file of nothing known is.
    ``licence`` is what the source itself declares: a dataset of the hub may.
    """

    kind: Kind
    packing: Packing
    chunks: Iterator[bytes]
    encoding: Encoding = "UTF-8"
    inner: str | None = None
    delimiter: str = ""
    problem: CutError | None = None
    licence: str = ""

    def __str__(self) -> str:
        inside = f" with the rows under {self.inner!r}" if self.inner else ""
        packing = f", {self.packing}" if self.packing else ""
        return f"{self.kind}{inside}{packing}"


@contextmanager
def opened(path: Path, file: str, meter: Meter, told: Told) -> Iterator[Container]:
    """Open ``path``, called ``file`` in messages, and tell what it is. Raises ``DataError`` if it can't be opened.

    ``told`` holds for texts; Parquet is always told by its content.
    """
    if told.problem:
        raise DataError(f"{file}: {told.problem}", "Write --container csv --delimiter ';', for example.")
    try:
        if path.is_dir():
            raise DataError(f"{file}: a folder, not a file", "Give a file.")
        source = path.open("rb")
    except FileNotFoundError as error:
        raise DataError(f"{file}: no such file", "Check the path; it is read from the current folder.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: can't be opened: {error}", "Check the path and its permissions.") from error
    with source:
        meter.total = path.stat().st_size
        yield _seen(source, _suffixes(path, told), meter, told)


def _suffixes(path: Path, told: Told) -> list[str]:
    return [f".{told.form}"] if told.form else [suffix.lower() for suffix in path.suffixes]


def _seen(source: BufferedReader, suffixes: list[str], meter: Meter, told: Told) -> Container:
    packing = packed.packing(source.read(6))
    source.seek(0)
    raw = packed.unpacked(source, packing, meter)
    head, cut = _head(raw)
    nothing = _not_text(head, packing)
    if nothing or (head.startswith(b"PAR1") and not packing):
        return Container("nothing known" if nothing else "Parquet", packing, raw, problem=nothing)
    encoding, codec = packed.encoding(head)
    chunks = packed.as_utf8(chain([head], _raising(cut) if cut else raw), codec)
    text = b"".join(packed.as_utf8(iter([head]), codec))
    start = text[:_HEAD].decode(errors="replace")
    kind: Kind = "nothing known"
    inner = None
    delimiter = _delimiter(start, suffixes, told)
    if delimiter:
        kind = "TSV" if delimiter == "\t" else "CSV"
    elif told.form:
        kind, inner = _said(start, told.form)
    else:
        kind, inner = _text(start, len(head) < _HEAD, _named_lines(suffixes))
    if kind == "nothing known" and not text.strip():
        nothing = cut or CutError("empty file", "the file is empty", "Give a file with rows in it.")
    elif kind == "nothing known":
        nothing = cut or _unknown(f"a file that begins with {text[:24].decode(errors='replace')!r}")
    return Container(kind, packing, chunks, encoding, inner, delimiter, nothing)


def _head(chunks: Iterator[bytes]) -> tuple[bytes, CutError | None]:
    """Take chunks until there is enough to tell by; also return what stopped them before their time."""
    head = b""
    try:
        while len(head) < _HEAD and (chunk := next(chunks, b"")):
            head += chunk
    except CutError as cut:
        return head, cut
    return head, None


def _not_text(head: bytes, packing: Packing) -> CutError | None:
    for start, what in _FOREIGN.items():
        if head.startswith(start):
            return _unknown(what)
    if head.startswith(b"PAR1") and packing:
        return CutError("not data", f"a Parquet file packed with {packing}", "Unpack it first.")
    return None


def _raising(cut: CutError) -> Iterator[bytes]:
    raise cut
    yield b""  # makes this a generator: it raises when it is read, not when it is made


def _delimiter(start: str, suffixes: list[str], told: Told) -> str:
    """Return the delimiter of a table, or "" if the text is none."""
    if not start.strip() or told.form in ("json", "jsonl"):
        return ""
    if told.form is None and start.lstrip()[0] in "{[":
        return ""
    return told.delimiter or delimited.sniffed(start, suffixes)


def _said(start: str, form: TextForm) -> tuple[Kind, str | None]:
    """Return what a JSON text is that was said to be one."""
    if not start.strip():
        return "nothing known", None
    if form == "jsonl":
        return "JSON lines", None
    if start.lstrip()[0] == "[":
        return "JSON array", None
    return "JSON object", _list_key(start) or ""


def _named_lines(suffixes: list[str]) -> bool:
    return bool({".jsonl", ".ndjson"} & set(suffixes))


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
    if (len(complete) > 1 or lines) and (not complete or _is_object(complete[0])):
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
    return CutError("not data", f"no rows that honed can read, but {what}", f"Give {FORMS}.")
