"""JSON lines: one row a line; a line that can't be read is one fault, and reading goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from typing import Any

import orjson

from honed.data.sources.decode import MAX_BRACKETS, Decoder, quick, texts
from honed.data.sources.row import KEPT, Block, CutError, Known, Row, too_long, unreadable

BLANKS = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines, the first of which is number ``first`` of its file."""

    first: int
    data: bytes

    def rows(self, file: str) -> Iterator[Row]:
        """Decode each line that isn't blank."""
        decoder = Decoder(file)
        for number, line in enumerate(self.data.decode("utf-8", "surrogateescape").split("\n"), self.first):
            if line and line.strip(BLANKS):
                yield decoder.whole(line, number)


def quickly(lines: Sequence[bytes]) -> list[dict[str, Any] | None]:
    """Return what ``quick`` gives for each line, at a part of its cost.

    Quotes are counted over all lines at once: a line whose keys repeat has more than its value accounts for, and none
    has fewer, so that equal sums leave no doubt about any of them.
    """
    values = _objects(lines)
    if set(map(type, values)) != {dict}:
        values = [value if type(value) is dict else None for value in values]
    kinds = list(map(type, chain.from_iterable(map(dict.values, filter(None, values)))))
    if _SCALARS.issuperset(kinds):
        many = sum(map(len, filter(None, values))) + kinds.count(str)
    else:
        values = [value and _flat(value, line) for value, line in zip(values, lines, strict=True)]
        many = sum([texts(value) for value in values if value])
    data = b"\n".join(compress(lines, [value is not None for value in values]) if None in values else lines)
    data = data.replace(b"\\\\", b"") if b"\\\\" in data else data
    if data.count(b'"') - data.count(b'\\"') == 2 * many:
        return values
    return [None if value is None else quick(line.decode()) for value, line in zip(values, lines, strict=True)]


_SCALARS = frozenset({str, int, bool, type(None)})


def _objects(lines: Sequence[bytes]) -> list[Any]:
    try:
        return list(map(orjson.loads, lines))
    except orjson.JSONDecodeError:
        return list(map(_object, lines))


def _object(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def _flat(value: dict[str, Any], line: bytes) -> dict[str, Any] | None:
    """Return an object that can't nest deeply."""
    for inner in value.values():
        if type(inner) is list or type(inner) is dict:
            return value if line.count(b"{") + line.count(b"[") <= MAX_BRACKETS else None
    return value


def blocks(chunks: Iterator[bytes], file: str, limit: int) -> Iterator[Block]:
    """Yield the lines in blocks; a line of more than ``limit`` bytes is skipped in bounded memory, and named."""
    splitter = _Splitter(file, limit)
    try:
        for chunk in chunks:
            yield from splitter.feed(chunk)
    except CutError as cut:
        yield from splitter.rest(cut)
    else:
        yield from splitter.rest(None)


class _Splitter:
    """Cuts a stream of bytes behind line ends, never holding more than a line of ``limit`` and a chunk."""

    def __init__(self, file: str, limit: int) -> None:
        self._file, self._limit = file, limit
        self._first = 1
        self._pending = bytearray()
        self._skipping = False

    def feed(self, chunk: bytes) -> Iterator[Block]:
        """Take the next bytes and yield the blocks that are whole now."""
        if self._skipping:
            end = chunk.find(b"\n")
            if end < 0:
                return
            yield self._too_long()
            chunk = chunk[end + 1 :]
        self._pending += chunk
        if b"\n" in chunk:
            yield from self._whole()
        if len(self._pending) > self._limit:
            del self._pending[KEPT:]
            self._skipping = True

    def rest(self, cut: CutError | None) -> Iterator[Block]:
        """Yield what is left at the end of the bytes; ``cut``: they ended before their time."""
        if self._skipping and not cut:
            yield self._too_long()
        elif self._pending and not cut:
            yield from self._lines(bytes(self._pending))
        if cut:
            text = self._pending[:KEPT].decode("utf-8", "surrogateescape")
            yield Known((unreadable(self._file, (self._first, "line"), cut, text, counts=False),))

    def _whole(self) -> Iterator[Block]:
        end = self._pending.rfind(b"\n")
        if end < 0:
            return
        data = bytes(self._pending[:end])
        del self._pending[: end + 1]
        yield from self._lines(data)
        self._first += data.count(b"\n") + 1

    def _lines(self, data: bytes) -> Iterator[Block]:
        if len(data) <= self._limit or all(len(line) <= self._limit for line in data.split(b"\n")):
            yield Lines(self._first, data)
            return
        for number, line in enumerate(data.split(b"\n"), self._first):
            yield self._long(number, line) if len(line) > self._limit else Lines(number, line)

    def _too_long(self) -> Block:
        block = self._long(self._first, bytes(self._pending))
        self._pending.clear()
        self._skipping = False
        self._first += 1
        return block

    def _long(self, number: int, line: bytes) -> Block:
        text = line[:KEPT].decode("utf-8", "surrogateescape")
        return Known((unreadable(self._file, (number, "line"), too_long(self._limit), text),))
