"""Guessing a text's next tokens from the text itself: what followed the last time that its last three tokens stood.

Saxena, "Prompt Lookup Decoding", 2023; checked as in Leviathan et al., "Fast Inference from Transformers via
Speculative Decoding", 2023: a guess is only ever taken where the model would have said the same. Models that quote
their prompt, write lists or repeat themselves get several tokens for one pass.
"""

from __future__ import annotations

_GRAM = 3
"""So many tokens have to have stood before."""

_TRIED = 4
"""Guesses are computed once so many have come true in a row, each found out at no cost."""


class Lookup:
    """The guesses of one text. ``ids`` are its tokens so far, which ``add`` is told of one by one."""

    def __init__(self, ids: list[int]) -> None:
        self._ids: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        self._next = -1
        self._right = 0
        for token in ids:
            self.add(token)

    def add(self, token: int) -> None:
        """Take the text's next token and see whether it was guessed."""
        ids = self._ids
        guessed = self._next >= 0 and ids[self._next] == token
        self._right = self._right + 1 if guessed else 0
        ids.append(token)
        gram = tuple(ids[-_GRAM:])
        self._next = self._next + 1 if guessed else self._after.get(gram, -1)
        self._after[gram] = len(ids)

    def ahead(self, most: int) -> list[int]:
        """Return up to ``most`` tokens that may come next: more, the longer the guesses have been right."""
        if self._right < _TRIED:
            return []
        found: list[int] = []
        for place in range(self._next, self._next + min(most, self._right // 2)):
            known = len(self._ids)
            found.append(self._ids[place] if place < known else found[place - known])
        return found
