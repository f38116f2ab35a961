"""Text as token ids: what a message says is data, whatever token of the model it spells, and no text is cut twice."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SEAM = "\ufdd0"
"""Where a text is cut before it becomes tokens, so that none lies across: Unicode keeps such code points for that."""

_TRIED = ("|b|>", "\n\n</b>", " b", "b")
"""Texts that a tokenizer has to give back as they are where they stand behind a seam."""


@dataclass(frozen=True)
class Placed:
    """A text, its ids, and where in the text each begins (a token may swallow the spaces behind it)."""

    text: str
    ids: list[int]
    starts: list[int]

    def until(self, length: int) -> list[int]:
        """Return the ids of the first ``length`` characters."""
        return self.ids[: bisect_left(self.starts, length)]


class Spelling:
    """A tokenizer for texts with people's words in them. ``marks`` are texts of tokens that only a template writes."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, marks: Iterable[str]) -> None:
        self._tokenizer = tokenizer
        texts = sorted({mark for mark in marks if len(mark) > 1}, key=len, reverse=True)
        self._marks = re.compile("|".join(map(re.escape, texts))) if texts else None

    def guarded(self, text: str) -> str:
        """Return what somebody wrote with a seam in each mark that it spells: it stays this text, and no such token."""
        if self._marks is None:
            return text
        return self._marks.sub(lambda found: f"{found[0][:1]}{SEAM}{found[0][1:]}", text)

    def ids(self, text: str, known: Placed | None = None) -> list[int]:
        """Return the ids of a text. ``known`` is another one, whose beginning isn't cut into tokens again."""
        kept = 0 if known is None else self._shared(text, known)
        if known is None or not kept:
            return self.placed(text).ids
        return known.ids[:kept] + self.placed(text[known.starts[kept] :]).ids

    def placed(self, text: str) -> Placed:
        """Return the ids of a text with their places in it."""
        ids: list[int] = []
        starts: list[int] = []
        at = 0
        for number, piece in enumerate(text.split(SEAM)):
            before = self._before if number else ""
            # The template writes BOS itself where the model wants one: the tokenizer must not add a second.
            made = self._tokenizer(before + piece, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            begun = [start for start, _ in made["offset_mapping"]]
            mine = bisect_left(begun, len(before))
            ids += made["input_ids"][mine:]
            starts += [at + start - len(before) for start in begun[mine:]]
            at += len(piece) + len(SEAM)
        return Placed(text, ids, starts)

    def _shared(self, text: str, known: Placed) -> int:
        """Return how many of ``known``'s ids a text certainly begins with.

        Added tokens are found before anything else and what stands between two of them is cut by itself: from the last
        one that both texts have on, the rest is what it is alone.
        """
        both = len(text) if known.text.startswith(text) else alike(text, known.text)
        for place in range(bisect_left(known.starts, both) - 2, 0, -1):
            if known.ids[place] in self._added and known.starts[place] < known.starts[place + 1] <= both:
                return place
        return 0

    @cached_property
    def _added(self) -> frozenset[int]:
        """Ids of added tokens that are found in the text as it is written."""
        return frozenset(key for key, token in self._tokenizer.added_tokens_decoder.items() if not token.normalized)

    @cached_property
    def _before(self) -> str:
        """What a piece behind a seam is cut with, so that it doesn't count as the beginning of a text.

        Many tokenizers write a space before a text, some behind a special token too. Told by trying.
        """
        special = [
            token.content
            for token in self._tokenizer.added_tokens_decoder.values()
            if token.special and not token.rstrip
        ]
        tried = (*special[:1], "\n", ".")
        return next((before for before in tried if all(self._keeps(before, text) for text in _TRIED)), "\n")

    def _keeps(self, before: str, text: str) -> bool:
        """Tell whether a text behind ``before`` begins with a token of its own and is that text."""
        made = self._tokenizer(before + text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        cut = any(start == len(before) for start, _ in made["offset_mapping"])
        said = self._tokenizer.decode(made["input_ids"], clean_up_tokenization_spaces=False)
        return cut and said == before + text


def alike(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Return how long the beginning is that two sequences have in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (left, right) in pairs if left != right), min(len(one), len(other)))
