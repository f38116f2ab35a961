"""A moving window over a long JSON text: bounded memory, true line and column numbers."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from honed.data.sources.row import CutError

_SPACE = re.compile(r"[ \t\r\n]*+")
_IN_STRING = re.compile(r'["\\]')
_OUTSIDE = re.compile(r'["{}\[\],]')


class Window:
    """The stretch of text in memory; ``pos`` is where reading stands in ``text``.

    Bytes that aren't UTF-8 become lone surrogates, so that reading goes on and the row they stand in can be named.
    ``cut`` is set when the bytes end before their time, as in a truncated gzip file.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.text = ""
        self.pos = 0
        self.cut: CutError | None = None
        self._chunks = chunks
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._ended = False
        self._line, self._counted, self._column = 1, 0, 1

    def more(self) -> bool:
        """Drop what lies before ``pos`` and append the next chunk; False at the end of the file."""
        if self._ended:
            return False
        try:
            chunk = next(self._chunks, None)
        except CutError as cut:
            self.cut, chunk = cut, None
        self._ended = chunk is None
        self._line, self._column = self.place()
        self.text = self.text[self.pos :] + self._decoder.decode(chunk or b"", final=self._ended)
        self.pos = self._counted = 0
        return not self._ended

    def place(self) -> tuple[int, int]:
        """Return the line and column, from 1, of ``pos``."""
        self._line += self.text.count("\n", self._counted, self.pos)
        self._counted = self.pos
        start = self.text.rfind("\n", 0, self.pos) + 1
        return self._line, self.pos - start + 1 if start else self.pos + self._column

    def peek(self) -> str:
        """Step over blanks and return the next character, or "" at the end of the file."""
        while True:
            match = _SPACE.match(self.text, self.pos)
            assert match
            self.pos = match.end()
            if self.pos < len(self.text):
                return self.text[self.pos]
            if not self.more():
                return self.text[self.pos : self.pos + 1]

    def take(self, end: int) -> str:
        """Return the text from ``pos`` to ``end`` and step behind it."""
        text = self.text[self.pos : end]
        self.pos = end
        return text


class Balance:
    """Finds where a value ends by its brackets and quotes alone, whatever stands between them, fed piece by piece."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def feed(self, text: str) -> int | None:
        """Return the offset in ``text`` at which the value ends, or None if it goes on behind ``text``."""
        pos = int(self._escaped and text != "")
        self._escaped = self._escaped and text == ""
        while match := (_IN_STRING if self._in_string else _OUTSIDE).search(text, pos):
            pos = match.end()
            if match[0] == "\\":
                pos += 1
                self._escaped = pos > len(text)
            elif match[0] == '"':
                self._in_string = not self._in_string
            elif (end := self._bracket(match)) is not None:
                return end
        return None

    def _bracket(self, match: re.Match[str]) -> int | None:
        if match[0] in "{[":
            self._depth += 1
        elif self._depth == 0:
            return match.start()  # a bare value ends where the ',' or ']' behind it stands
        elif match[0] != ",":
            self._depth -= 1
            return match.end() if self._depth == 0 else None
        return None
