"""Token ids to text while they arrive: whole characters only, and nothing that may turn out to be a stop text."""

from __future__ import annotations

from collections.abc import Sequence

from honed.models.chat import ChatFormat

_UNFINISHED = "\ufffd"
"""What a tokenizer decodes the first bytes of a character to."""

_WINDOW = 16
"""Tokens that are decoded again with each new one; enough for any tokenizer to see what precedes a word."""


class Pieces:
    """Collects an answer's ids; ``add`` returns the text that is certain by now, ``end`` the rest."""

    def __init__(self, chat: ChatFormat, stop: Sequence[str]) -> None:
        self._chat = chat
        self._stop = tuple(text for text in stop if text)
        self._ids: list[int] = []
        self._done = 0  # ids whose text is in ``_text``
        self._text = ""
        self._given = 0  # characters of ``_text`` that were returned
        self.stopped = False

    def add(self, token: int) -> str:
        """Take one more id and return the new text that is certain, perhaps none."""
        self._ids.append(token)
        self._read(final=False)
        held = max((_overlap(self._text[self._given :], stop) for stop in self._stop), default=0)
        return self._give(len(self._text) - (0 if self.stopped else held))

    def end(self) -> str:
        """Return the text that was held back; the answer has ended."""
        self._read(final=True)
        return self._give(len(self._text))

    def _read(self, *, final: bool) -> None:
        if self.stopped or self._done == len(self._ids):
            return
        start = max(0, self._done - _WINDOW)
        before, now = self._chat.decode(self._ids[start : self._done]), self._chat.decode(self._ids[start:])
        if now.endswith(_UNFINISHED) and not final:
            return
        self._text += now[len(before) :]
        self._done = len(self._ids)
        found = [place for stop in self._stop if (place := self._text.find(stop, self._given)) >= 0]
        if found:
            self._text = self._text[: min(found)]
            self.stopped = True

    def _give(self, until: int) -> str:
        piece = self._text[self._given : until]
        self._given = max(self._given, until)
        return piece


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that is a beginning of ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((length for length in range(longest, 0, -1) if text.endswith(stop[:length])), 0)
