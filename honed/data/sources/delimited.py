"""CSV and TSV: a header line, then one row a record; a quoted text may hold line ends, and lines are counted true."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass

from honed.data.sources.decode import not_utf8
from honed.data.sources.row import BLOCK, KEPT, Block, CutError, Known, Row, too_long, unreadable

_DELIMITERS = ",\t;|"
_SUFFIXES = {".csv": "", ".tsv": "\t", ".tab": "\t"}
_USUAL = (
    "instruction input output prompt response completion question answer query context system messages "
    "conversations chosen rejected label category"
)
_TELLING = frozenset(_USUAL.split())
csv.field_size_limit(2**31 - 1)  # the reader's own limits hold


def sniffed(head: str, suffixes: list[str]) -> str:
    """Return the delimiter of a table whose text starts with ``head``, or "" if it shows none.

    A file that isn't named as one is a table if its first line holds two names that instruction data uses.
    """
    named = [suffix for suffix in suffixes if suffix in _SUFFIXES]
    if named and _SUFFIXES[named[-1]]:
        return _SUFFIXES[named[-1]]
    header = head.lstrip("\r\n").split("\n", 1)[0]
    found = {mark: [name.strip() for name in _fields(header, mark)] for mark in _DELIMITERS}
    best = max(found, key=lambda mark: len(found[mark]))
    if named:
        return best if len(found[best]) > 1 else ","
    return best if len(_TELLING & {name.lower() for name in found[best]}) > 1 else ""


@dataclass(frozen=True, slots=True)
class Records:
    """Records of a table as text, each with the line it starts at, and the names of their fields."""

    header: tuple[str, ...]
    delimiter: str
    items: tuple[tuple[int, str], ...]

    def rows(self, file: str) -> Iterator[Row]:
        """Split each record into its fields; one with more or fewer of them than the header is a fault."""
        for (line, text), fields in zip(self.items, self._split(), strict=True):
            if text.strip():
                yield self._row(line, text, fields, file)

    def _split(self) -> list[list[str]]:
        """Return the fields of each record: read together where none of them runs into the next."""
        texts = [text for _, text in self.items]
        try:
            together = list(csv.reader(texts, delimiter=self.delimiter))
        except csv.Error:
            together = []
        return together if len(together) == len(texts) else [_fields(text, self.delimiter) for text in texts]

    def _row(self, line: int, text: str, fields: list[str], file: str) -> Row:
        problem: CutError | None = None
        place = "row"
        if not text.isascii() and (raw := not_utf8(text)) is not None:
            offset, problem, place = raw
            line += text.count("\n", 0, offset)
        elif len(fields) != len(self.header):
            words = f"{len(fields)} fields, and the header names {len(self.header)}"
            hint = "Put texts that hold the delimiter or a quote into double quotes, and double the quotes in them."
            problem = CutError("changing columns", words, hint)
        if problem:
            row = unreadable(file, (line, place), problem, text)
            return Row(line, text, None, row.faults)
        value = dict(zip(self.header, fields, strict=True))
        below = _lines(self.header, fields) if "\n" in text else None
        return Row(line, text, value, lines=below, table=True)


def blocks(chunks: Iterator[bytes], file: str, limit: int, delimiter: str) -> Iterator[Block]:
    """Yield the records in blocks; a quote that is never closed costs the record it opens in and no other."""
    records = _records(chunks, file, limit, delimiter)
    header: tuple[str, ...] = ()
    gathered: list[tuple[int, str]] = []
    size = 0
    for item in records:
        if isinstance(item, Row):
            yield Known((item,))
        elif not header:
            header, problem = _header(item[1], delimiter)
            if problem:
                yield Known((unreadable(file, (item[0], "header"), problem, item[1], counts=False),))
        else:
            gathered.append(item)
            size += len(item[1])
            if size >= BLOCK:
                yield Records(header, delimiter, tuple(gathered))
                gathered, size = [], 0
    if gathered:
        yield Records(header, delimiter, tuple(gathered))


def _header(text: str, delimiter: str) -> tuple[tuple[str, ...], CutError | None]:
    """Return the names that the header's line gives (none if it is blank), and what is wrong with them."""
    raw = not_utf8(text)
    if raw:
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    names = tuple(name.strip() for name in _fields(text, delimiter)) if text.strip() else ()
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        return names, CutError("duplicate key", f"the header names {twice!r} twice", "Give each column its name.")
    return names, raw[1] if raw else None


def _records(chunks: Iterator[bytes], file: str, limit: int, delimiter: str) -> Iterator[tuple[int, str] | Row]:
    """Yield each record with the line it starts at: lines are joined while a quote is open."""
    parts: list[str] = []  # the lines of a record whose quote is still open
    size = first = quotes = 0
    for item in _numbered(chunks, file, limit):
        if isinstance(item, Row):
            yield item
            continue
        number, text = item
        if not parts:
            if text.count('"') % 2 == 0 or _closed(text, delimiter):
                yield item
                continue
            first, size, quotes = number, 0, 0
        parts.append(text)
        size += len(text) + 1
        quotes += text.count('"')
        if quotes % 2 == 0:
            yield first, "\n".join(parts)
            parts = []
        elif size > limit:
            yield from _again(parts, first, file, delimiter)
            parts = []
    if parts:
        yield from _again(parts, first, file, delimiter)


def _again(lines: list[str], first: int, file: str, delimiter: str) -> Iterator[tuple[int, str] | Row]:
    """Read the lines from a quote on that was never closed, each as a record of its own."""
    for number, text in enumerate(lines, first):
        paired = text.count('"') % 2 == 0 or _closed(text, delimiter)
        yield (number, text) if paired else _open(file, number, text)


def _numbered(chunks: Iterator[bytes], file: str, limit: int) -> Iterator[tuple[int, str] | Row]:
    """Yield each line with its number; one that is too long is skipped in bounded memory, and named."""
    number, pending, size = 1, bytearray(), 0
    try:
        for chunk in chunks:
            for count, part in enumerate(chunk.split(b"\n")):
                if count:
                    yield _line(number, bytes(pending), file, limit if size > limit else 0)
                    number, size = number + 1, 0
                    pending.clear()
                size += len(part)
                pending += part
                if size > limit:
                    del pending[KEPT:]
    except CutError as cut:
        text = pending[:KEPT].decode("utf-8", "surrogateescape")
        yield unreadable(file, (number, "line"), cut, text, counts=False)
        return
    if pending:
        yield _line(number, bytes(pending), file, limit if size > limit else 0)


def _line(number: int, data: bytes, file: str, over: int) -> tuple[int, str] | Row:
    text = data.decode("utf-8", "surrogateescape")
    return unreadable(file, (number, "line"), too_long(over), text) if over else (number, text)


def _open(file: str, line: int, text: str) -> Row:
    hint = "Close the quote; a quote inside of a quoted text is written twice."
    problem = CutError("open quote", "a quote opens in this row and is never closed", hint)
    return unreadable(file, (line, "row"), problem, text)


def _closed(text: str, delimiter: str) -> bool:
    """Tell whether a line whose quotes don't pair is a whole record all the same, as in: 5" disk."""
    try:
        next(csv.reader([text], delimiter=delimiter, strict=True), None)
    except csv.Error:
        return False
    return True


def _fields(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error:
        return [text]


def _lines(header: tuple[str, ...], fields: list[str]) -> dict[str, int]:
    """Return how many lines below the start of its record each field begins."""
    below, found = 0, {}
    for name, field in zip(header, fields, strict=True):
        found[name] = below
        below += field.count("\n")
    return found
