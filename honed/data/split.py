"""Which rows are held out, and which are kept at all: by content, so that it holds when rows are added."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from honed.records import Conversation, Split

_BUCKETS = 10_000

Verdict = Literal["train", "heldout", "duplicate", "leak"]


def held_out(prompt: int, share: float) -> bool:
    """Tell whether rows whose ``prompt_id``, as a number, is ``prompt`` are held out.

    A prompt's hash decides, so rows that share it fall on the same side, and no row changes sides when others come.
    """
    return prompt % _BUCKETS < share * _BUCKETS


class Sorter:
    """Sorts rows as they come, remembering hashes only (some 100 bytes a row).

    ``share`` is the share held out by content; rows given as held out themselves are to come first.
    """

    def __init__(self, share: float) -> None:
        self.counts: Counter[Verdict] = Counter()
        self.same_prompt = 0
        """Rows kept whose prompt an earlier row has with another answer."""
        self._share = share
        self._rows: set[int] = set()
        self._prompts: set[int] = set()
        self._given: set[int] = set()

    def place(self, row: Conversation, given: Split | None = None) -> Verdict:
        """Return where the row goes; ``given`` is the split its source declares, if it does."""
        verdict = self._verdict(row, given)
        self.counts[verdict] += 1
        return verdict

    def _verdict(self, row: Conversation, given: Split | None) -> Verdict:
        id_, prompt = int(row.id, 16), int(row.prompt_id, 16)
        if given != "heldout" and prompt in self._given:
            return "leak"
        if id_ in self._rows:
            return "duplicate"
        self._rows.add(id_)
        self.same_prompt += prompt in self._prompts
        self._prompts.add(prompt)
        if given == "heldout":
            self._given.add(prompt)
        return given or ("heldout" if held_out(prompt, self._share) else "train")
