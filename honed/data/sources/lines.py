"""JSON lines: one row a line; a line that can't be read is one fault, and reading goes on."""

from __future__ import annotations

from collections.abc import Iterator

from honed.data.sources.decode import Decoder
from honed.data.sources.row import KEPT, CutError, Row, too_long, unreadable


def rows(chunks: Iterator[bytes], file: str, limit: int) -> Iterator[Row]:
    """Yield the row of each line that isn't blank; ``limit`` is the longest line read, in bytes."""
    decoder = Decoder(file)
    for number, data, problem in _split(chunks, limit):
        text = data.decode(errors="surrogateescape")
        if problem:
            yield unreadable(file, (number, "line"), problem, text, counts=problem.kind == "too long")
        elif text.strip(" \t\r\n"):
            yield decoder.whole(text, number)


def _split(chunks: Iterator[bytes], limit: int) -> Iterator[tuple[int, bytes, CutError | None]]:
    """Yield number, bytes and what is wrong with each line, never holding more than ``limit`` and a chunk."""
    number, pending, size = 1, bytearray(), 0
    try:
        for chunk in chunks:
            for count, part in enumerate(chunk.split(b"\n")):
                if count:
                    yield number, bytes(pending), too_long(limit) if size > limit else None
                    number, size = number + 1, 0
                    pending.clear()
                size += len(part)
                pending += part
                if size > limit:
                    del pending[KEPT:]
    except CutError as cut:
        yield number, bytes(pending[:KEPT]), cut
        return
    yield number, bytes(pending), too_long(limit) if size > limit else None
