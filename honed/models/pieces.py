"""Token ids to text while they arrive: whole characters only, nothing that may turn out to be a stop text or a mark."""

from __future__ import annotations

from collections.abc import Sequence

from honed.models.chat import ChatFormat
from honed.models.thought import Splitter, overlap

_UNFINISHED = "\ufffd"
"""What a tokenizer decodes the first bytes of a character to."""

_WINDOW = 16
"""Tokens that are decoded again with each new one; enough for any tokenizer to see what precedes a word."""

_TAIL = 64
"""Tokens at a prompt's end that are looked at for an open mark of reasoning."""


class Pieces:
    """Collects an answer's ids; ``add`` returns the text that is certain by now, ``end`` the rest.

    ``prompt`` are the ids before. Reasoning that the chat template knows is kept apart in ``reasoning``, as it becomes
    certain; stop texts are looked for in the answer only.
    """

    def __init__(self, chat: ChatFormat, stop: Sequence[str], prompt: Sequence[int] = ()) -> None:
        self._chat = chat
        self._stop = tuple(text for text in stop if text)
        self._ids: list[int] = []
        self._done = 0  # ids whose text is in ``_text`` or was handed to ``_splitter``
        self._text = ""
        self._given = 0  # characters of ``_text`` that were returned
        self.stopped = False
        self.reasoning: list[str] = []
        thought = chat.thought
        self._hidden = thought.hidden if thought else None
        self._splitter: Splitter | None = None
        if thought:
            opened = thought.opened(chat.decode(prompt[-_TAIL:], special=True))
            self._splitter = Splitter(thought, opened=opened)

    def add(self, token: int) -> str:
        """Take one more id and return the new text that is certain, perhaps none."""
        self._ids.append(token)
        self._read(final=False)
        held = max((overlap(self._text[self._given :], stop) for stop in self._stop), default=0)
        return self._give(len(self._text) - (0 if self.stopped else held))

    def end(self) -> str:
        """Return the text that was held back; the answer has ended."""
        self._read(final=True)
        if self._splitter:
            self._take(*self._splitter.end())
        return self._give(len(self._text))

    def _read(self, *, final: bool) -> None:
        if self.stopped or self._done == len(self._ids):
            return
        start = max(0, self._done - _WINDOW)
        before, now = self._decode(self._ids[start : self._done]), self._decode(self._ids[start:])
        if now.endswith(_UNFINISHED) and not final:
            return
        self._done = len(self._ids)
        fresh = now[len(before) :]
        self._take(*(self._splitter.add(fresh) if self._splitter else ("", fresh)))

    def _decode(self, ids: Sequence[int]) -> str:
        if self._hidden is None:
            return self._chat.decode(ids)
        return self._chat.decode([one for one in ids if one not in self._hidden], special=True)

    def _take(self, reasoning: str, answer: str) -> None:
        if reasoning:
            self.reasoning.append(reasoning)
        self._text += answer
        found = [place for stop in self._stop if (place := self._text.find(stop, self._given)) >= 0]
        if found:
            self._text = self._text[: min(found)]
            self.stopped = True

    def _give(self, until: int) -> str:
        piece = self._text[self._given : until]
        self._given = max(self._given, until)
        return piece
