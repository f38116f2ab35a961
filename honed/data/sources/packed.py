"""The bytes of a file, unpacked and as UTF-8, in chunks: gzip and zstd, UTF-16, a byte order mark."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Iterator
from gzip import BadGzipFile, GzipFile
from io import BufferedReader
from typing import Any, Literal

from honed.data.sources.row import CutError, Meter

Packing = Literal["", "gzip", "zstd"]
Encoding = Literal["UTF-8", "UTF-8 with a byte order mark", "UTF-16"]

_CHUNK = 2**20
_STEP = 2**14
"""Bytes unpacked of zstd at a time: what the last step had unpacked when the file turns out to be cut is lost."""
_LONGEST = 4 * 2**20
"""Bytes of a line, about, that are mended together."""
_BOM = b"\xef\xbb\xbf"
_MAGIC: dict[bytes, Packing] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_WIDE = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


def packing(magic: bytes) -> Packing:
    """Tell by its first bytes how a file is packed."""
    return next((name for start, name in _MAGIC.items() if magic.startswith(start)), "")


def unpacked(source: BufferedReader, how: Packing, meter: Meter) -> Iterator[bytes]:
    """Yield the bytes as they come; a damaged file gives all of its sound bytes before ``CutError`` is raised."""
    again = "Copy or download the file again; what stands before is read."
    try:
        with _stream(source, how) as stream:
            for chunk in _stepwise(stream) if how == "zstd" else iter(lambda: stream.read1(_CHUNK), b""):
                meter.done = source.tell()
                yield chunk
    except EOFError as error:
        raise CutError("truncated gzip", "the gzip file ends here, before its end mark", again) from error
    except (BadGzipFile, zlib.error) as error:
        raise CutError("damaged gzip", f"the gzip file is damaged here: {error}", again) from error
    except OSError as error:
        if how == "zstd" and "truncated" in str(error).lower():
            raise CutError("truncated zstd", "the zstd file ends here, before its end mark", again) from error
        if how == "zstd":
            raise CutError("damaged zstd", f"the zstd file is damaged here: {error}", again) from error
        raise CutError("unreadable", f"can't be read on: {error.strerror}", "Copy the file from its source.") from error


def _stepwise(stream: Any) -> Iterator[bytes]:
    """Yield what a stream of zstd unpacks to, all that came before an error included."""
    gathered = bytearray()
    try:
        while step := stream.read(_STEP):
            gathered += step
            if len(gathered) >= _CHUNK:
                yield bytes(gathered)
                gathered.clear()
    except OSError:
        if gathered:
            yield bytes(gathered)
        raise
    if gathered:
        yield bytes(gathered)


def _stream(source: BufferedReader, how: Packing) -> Any:
    if how == "zstd":
        import pyarrow as pa

        return pa.CompressedInputStream(pa.PythonFile(source, mode="r"), "zstd")
    return GzipFile(fileobj=source) if how == "gzip" else _Open(source)


class _Open:
    """A plain file under the same contract; closing it is left to whoever opened it."""

    def __init__(self, source: BufferedReader) -> None:
        self.read1 = source.read1

    def __enter__(self) -> _Open:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def encoding(head: bytes) -> tuple[Encoding, str]:
    """Tell how the text that starts with ``head`` is written: in words, and as a codec ("" for UTF-8)."""
    if head.startswith(_BOM):
        return "UTF-8 with a byte order mark", ""
    for mark, codec in _WIDE.items():
        if head.startswith(mark):
            return "UTF-16", codec
    if len(head) >= 4 and head[0] and not head[1] and head[2] and not head[3]:
        return "UTF-16", "utf-16-le"
    if len(head) >= 4 and not head[0] and head[1] and not head[2] and head[3]:
        return "UTF-16", "utf-16-be"
    return "UTF-8", ""


def as_utf8(chunks: Iterator[bytes], codec: str) -> Iterator[bytes]:
    """Yield the text as UTF-8 without a byte order mark; what is broken in UTF-16 becomes U+FFFD."""
    if not codec:
        first = next(chunks, b"")
        yield first.removeprefix(_BOM)
        yield from chunks
        return
    decoder = codecs.getincrementaldecoder(codec)("replace")
    first_text = True
    for chunk in chunks:
        text = decoder.decode(chunk)
        yield (text.removeprefix("\ufeff") if first_text else text).encode()
        first_text = first_text and not text
    yield decoder.decode(b"", final=True).encode()


class Mending:
    """Turns bytes that aren't UTF-8 into what Windows-1252 says they are, line by line; ``lines`` counts them.

    A line of many megabytes is mended in parts, so that memory stays bounded.
    """

    def __init__(self) -> None:
        self.lines = 0
        self._counted = False  # the line that isn't at its end yet

    def mended(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the text as sound UTF-8."""
        pending = bytearray()
        for chunk in chunks:
            newline = chunk.rfind(b"\n") + 1
            end = len(pending) + newline if newline else 0
            pending += chunk
            if not end and len(pending) > _LONGEST:
                end = _boundary(pending)
            if end:
                yield self._sound(bytes(pending[:end]))
                del pending[:end]
        yield self._sound(bytes(pending))

    def _sound(self, data: bytes) -> bytes:
        try:
            data.decode()
        except UnicodeDecodeError:
            return b"\n".join(self._line(line, first=not place) for place, line in enumerate(data.split(b"\n")))
        self._counted = self._counted and b"\n" not in data
        return data

    def _line(self, data: bytes, *, first: bool) -> bytes:
        self._counted = self._counted and first
        try:
            data.decode()
        except UnicodeDecodeError:
            self.lines += not self._counted
            self._counted = True
            return data.decode("cp1252", "replace").encode()
        return data


def _boundary(data: bytearray) -> int:
    """Return the last place at which no character of UTF-8 is cut in two."""
    return next((at for at in range(len(data) - 1, len(data) - 5, -1) if data[at] & 0xC0 != 0x80), len(data))
