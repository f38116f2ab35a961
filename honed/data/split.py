"""Which rows are held out, and which are kept at all: by content, so that it holds when rows are added."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import repeat
from typing import Literal

from honed.records import Split

_BUCKETS = 10_000

Verdict = Literal["train", "heldout", "duplicate", "leak"]


def held_out(prompt: int, share: float) -> bool:
    """Tell whether rows whose ``prompt_id``, as a number, is ``prompt`` are held out.

    A prompt's hash decides, so rows that share it fall on the same side, and no row changes sides when others come.
    """
    return prompt % _BUCKETS < share * _BUCKETS


class Sorter:
    """Sorts records as they come, remembering hashes only (some 200 bytes a record).

    ``share`` is the share held out by content; records given as held out themselves are to come first.
    """

    def __init__(self, share: float) -> None:
        self.counts: Counter[Verdict] = Counter()
        self.same_prompt = 0
        """Records kept whose prompt an earlier one has with another answer."""
        self._share = share
        self._first: dict[int, int] = {}
        self._prompts: set[int] = set()
        self._given: set[int] = set()

    def place(self, id_: int, prompt: int, here: int = 0, given: Split | None = None) -> Verdict:
        """Return where the record with these ids, as numbers, goes.

        ``here`` is any number that tells its place; ``given`` the split that its source declares, if it does.
        """
        verdict = self._verdict(id_, prompt, here, given)
        self.counts[verdict] += 1
        return verdict

    def place_all(
        self, ids: Sequence[int], prompts: Sequence[int], here: Sequence[int], given: Split | None
    ) -> list[Verdict]:
        """Return what ``place`` gives for each of many records, one after another."""
        if given is not None or self._given:
            return list(map(self.place, ids, prompts, here, repeat(given)))
        firsts, known, share = self._first, self._prompts, self._share
        verdicts: list[Verdict] = []
        for id_, prompt, place in zip(ids, prompts, here, strict=True):
            if firsts.setdefault(id_, place) != place:
                verdicts.append("duplicate")
                continue
            if prompt in known:
                self.same_prompt += 1
            else:
                known.add(prompt)
            verdicts.append("heldout" if held_out(prompt, share) else "train")
        self.counts.update(verdicts)
        return verdicts

    def first(self, id_: int) -> int:
        """Return the place of the first record with this id."""
        return self._first[id_]

    def _verdict(self, id_: int, prompt: int, here: int, given: Split | None) -> Verdict:
        if given != "heldout" and prompt in self._given:
            return "leak"
        if self._first.setdefault(id_, here) != here:
            return "duplicate"
        self.same_prompt += prompt in self._prompts
        self._prompts.add(prompt)
        if given == "heldout":
            self._given.add(prompt)
        return given or ("heldout" if held_out(prompt, self._share) else "train")
