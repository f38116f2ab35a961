"""A JSON document: an array of rows, an object that holds one, or one row; streamed, with true line numbers.

A row that can't be read is one fault. Reading goes on behind it when its brackets close and the next row follows as
it should; otherwise a fault says where reading can't go on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, NamedTuple

from honed.data.sources.decode import Decoder
from honed.data.sources.row import BLOCK, KEPT, Block, CutError, Row, too_long, unreadable
from honed.data.sources.window import Balance, Window

_SCANNER = json.JSONDecoder()
_STOPS = "; reading can't go on past it"
_MEND = "Mend the file there: it is one array of {...} rows with ',' between them."


class Piece(NamedTuple):
    """The text of one object, the line it starts at, and its number as in ``Row``; not decoded yet."""

    line: int
    text: str
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Pieces:
    """Objects of a document, among them rows that are known to be unreadable."""

    items: tuple[Piece | Row, ...]

    def rows(self, file: str) -> Iterator[Row]:
        """Decode the objects."""
        decoder = Decoder(file)
        for item in self.items:
            row = item if isinstance(item, Row) else decoder.whole(item.text, item.line)
            yield row.numbered(item.number)


def blocks(chunks: Iterator[bytes], file: str, limit: int, inner: str | None) -> Iterator[Block]:
    """Yield the rows of an array (``inner`` None), of the array under the key ``inner``, or one whole object ("").

    ``limit`` is the longest row that is read, in characters.
    """
    gathered: list[Piece | Row] = []
    size = 0
    for item in _numbered(_items(chunks, file, limit, inner)):
        gathered.append(item)
        size += len(item.text or "")
        if size >= BLOCK:
            yield Pieces(tuple(gathered))
            gathered, size = [], 0
    yield Pieces(tuple(gathered))


def _numbered(items: Iterator[Piece | Row]) -> Iterator[Piece | Row]:
    """Number the rows that share their line with a neighbour: an array is often one line, which tells none of them."""
    number = line = 0
    for item, following in pairwise(chain(items, (None,))):
        assert item is not None  # only the last is none, and nothing comes after it
        if not _is_row(item):
            yield item
            continue
        number += 1
        shared = item.line == line or (following is not None and _is_row(following) and following.line == item.line)
        line = item.line
        yield item._replace(number=number) if shared else item


def _is_row(item: Piece | Row) -> bool:
    return isinstance(item, Piece) or item.counts


def _items(chunks: Iterator[bytes], file: str, limit: int, inner: str | None) -> Iterator[Piece | Row]:
    reader = _Reader(Window(chunks), Decoder(file), limit)
    if inner is None:
        yield from reader.array()
    elif inner == "":
        yield reader.element()
    else:
        yield from reader.object(inner)
    yield from reader.tail()


class _Reader:
    """Reads rows off a window; ``_stuck`` once reading can't go on."""

    def __init__(self, window: Window, decoder: Decoder, limit: int) -> None:
        self._window, self._decoder, self._limit = window, decoder, limit
        self._stuck = False
        self._doubtful = False  # the last row was broken: what looks like the next may not be one
        window.peek()

    def array(self) -> Iterator[Piece | Row]:
        """Yield the rows of the array that starts at the window."""
        window = self._window
        window.pos += 1
        wanted = False  # a row has to follow: a comma stood before
        while (char := window.peek()) and (char != "]" or wanted):
            if char == "]":
                yield self._unreadable(CutError("not JSON", "not JSON: a ',' without a row behind it", _MEND))
                break
            if self._doubtful and char != "{":
                yield self._stop("a row is missing here")
                return
            yield self.element()
            if self._stuck:
                return
            char = window.peek()
            wanted = char == ","
            window.pos += wanted
            if char == "{":
                yield self._unreadable(CutError("not JSON", "not JSON: the ',' between two rows is missing", _MEND))
            elif char not in (",", "]", ""):
                yield self._stop("the ',' between two rows, or the closing ']', is missing")
                return
        yield from self._close("]")

    def object(self, inner: str) -> Iterator[Piece | Row]:
        """Yield the rows of the array under the key ``inner``; another list of objects beside it is a fault."""
        window, found = self._window, False
        window.pos += 1
        while window.peek() not in ("}", ""):
            key = self._value()
            if self._stuck or window.peek() != ":":
                yield self._stop("a key and its ':' are missing")
                return
            window.pos += 1
            if window.peek() == "[" and key == inner and not found:
                found = True
                yield from self.array()
            else:
                yield from self._beside(str(key), inner)
            if self._stuck:
                break
            if window.peek() == ",":
                window.pos += 1
        yield from self._close("}")

    def _beside(self, key: str, inner: str) -> Iterator[Row]:
        """Step over the value of another key; rows in it would be left out, which is a fault."""
        line, column = self._window.place()
        value = self._value()
        if self._stuck:
            yield self._stop(f"the value of {key!r} is broken")
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            words = f"beside {inner!r} there is another list of objects, {key!r}"
            problem = CutError("two lists", words, "Keep one list of rows a file.")
            yield unreadable(self._decoder.file, (line, f"column {column}"), problem, counts=False)

    def element(self) -> Piece | Row:
        """Return the row at the window, decoded or not, and step behind it."""
        window, decoder = self._window, self._decoder
        line, column = window.place()
        self._doubtful = False
        try:
            value, end = _SCANNER.raw_decode(window.text, window.pos)
            if isinstance(value, dict):
                return Piece(line, window.take(end))
            if end < len(window.text):
                return decoder.whole(window.take(end), line, column)
        except (ValueError, RecursionError):
            pass  # broken, or not wholly in the window yet: the brackets tell
        behind = self._complete()
        if behind is None:
            return self._unclosed(line, column)
        row = decoder.whole(window.take(behind), line, column)
        self._doubtful = row.value is None
        return row

    def tail(self) -> Iterator[Row]:
        """Yield a fault if anything but blanks stands behind the document."""
        if not self._stuck and self._window.peek():
            yield self._stop("text after the end of the array or object")

    def _complete(self) -> int | None:
        """Read on until the value at the window is whole; return the offset behind it, or None: too long, or open."""
        window, balance, fed = self._window, Balance(), 0
        while True:
            end = balance.feed(window.text[window.pos + fed :])
            if end is not None:
                return window.pos + fed + end
            fed = len(window.text) - window.pos
            if fed > self._limit or not window.more():
                return None

    def _unclosed(self, line: int, column: int) -> Row:
        """Return the row for a value that is longer than the limit, or that the end of the file leaves open."""
        window, decoder = self._window, self._decoder
        text = window.take(len(window.text))
        if window.cut:
            self._stuck = True
            return unreadable(decoder.file, (line, "row"), window.cut, text[:KEPT], counts=False)
        try:
            decoder.value(text)
        except (ValueError, RecursionError) as error:
            at_end = isinstance(error, json.JSONDecodeError) and (
                error.pos == len(text) or error.msg.startswith("Unterminated")
            )
            if at_end and len(text) > self._limit:
                return self._skip(line, text)
            self._stuck = True
            return decoder.broken(error, text, (line, column), _STOPS)
        return decoder.whole(text, line, column)

    def _skip(self, line: int, text: str) -> Row:
        """Step over a row that is too long to hold."""
        window, balance = self._window, Balance()
        end = balance.feed(text)
        while end is None and window.more():
            end = balance.feed(window.text)
            window.pos = len(window.text) if end is None else end
        self._stuck = end is None
        problem = window.cut or too_long(self._limit)
        return unreadable(self._decoder.file, (line, "row"), problem, text[:KEPT])

    def _value(self) -> Any:
        """Return the key or value at the window, which is no row, and step behind it; ``_stuck`` if it is broken."""
        window = self._window
        while True:
            try:
                value, end = self._decoder.value(window.text, window.pos)
                if end < len(window.text):
                    window.pos = end
                    return value
            except (ValueError, RecursionError):
                pass  # broken, or not wholly in the window yet
            if len(window.text) - window.pos > self._limit or not window.more():
                self._stuck = True
                return None

    def _close(self, bracket: str) -> Iterator[Row]:
        if self._stuck:
            return
        if self._window.peek() == bracket:
            self._window.pos += 1
        elif self._window.cut:
            self._stuck = True
            yield self._unreadable(self._window.cut)
        else:
            yield self._stop(f"the file ends before the closing {bracket!r}")

    def _stop(self, what: str) -> Row:
        self._stuck = True
        return self._unreadable(CutError("not JSON", f"not JSON: {what}{_STOPS}", _MEND))

    def _unreadable(self, problem: CutError) -> Row:
        line, column = self._window.place()
        return unreadable(self._decoder.file, (line, f"column {column}"), problem, counts=False)
