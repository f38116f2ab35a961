"""Which rows are held out, and which are kept at all: by content, so that it holds when rows are added.

A conversation answers several prompts, each turn of the assistant one. The first of them decides whether it is held
out: so conversations that begin alike fall on the same side, and no training row answers a held-out prompt on its way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Literal

from honed.records import Split

_BUCKETS = 10_000

Verdict = Literal["train", "heldout", "duplicate", "leak"]


def held_out(prompt: int, share: float) -> bool:
    """Tell whether rows are held out that begin with the prompt whose id, as a number, is ``prompt``.

    Its hash decides, so rows that share it fall on the same side, and no row changes sides when others come.
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

    def place(
        self, id_: int, prompt: int, here: int = 0, given: Split | None = None, before: Sequence[int] = ()
    ) -> Verdict:
        """Return where the record with these ids, as numbers, goes.

        ``here`` is any number that tells its place; ``given`` the split that its source declares, if it does;
        ``before`` are the prompts that it answers before its own.
        """
        verdict = self._verdict(id_, prompt, here, given, before)
        self.counts[verdict] += 1
        return verdict

    def place_all(
        self,
        ids: Sequence[int],
        prompts: Sequence[int],
        here: Sequence[int],
        given: Split | None,
        before: Mapping[int, Sequence[int]],
    ) -> list[Verdict]:
        """Return what ``place`` gives for each of many records, one after another; ``before`` by their index."""
        if given is not None or self._given:
            each = [before.get(at, ()) for at in range(len(ids))]
            return list(map(self.place, ids, prompts, here, repeat(given), each))
        firsts, known, share = self._first, self._prompts, self._share
        openings = list(prompts)
        for at, others in before.items():
            openings[at] = others[0]
        verdicts: list[Verdict] = []
        for id_, prompt, place, opening in zip(ids, prompts, here, openings, strict=True):
            if id_ in firsts:
                verdicts.append("duplicate")
                continue
            firsts[id_] = place
            if prompt in known:
                self.same_prompt += 1
            else:
                known.add(prompt)
            verdicts.append("heldout" if held_out(opening, share) else "train")
        self.counts.update(verdicts)
        return verdicts

    def first(self, id_: int) -> int:
        """Return the place of the first record with this id."""
        return self._first[id_]

    def _verdict(self, id_: int, prompt: int, here: int, given: Split | None, before: Sequence[int]) -> Verdict:
        if given != "heldout" and not self._given.isdisjoint((prompt, *before)):
            return "leak"
        if id_ in self._first:
            return "duplicate"
        self._first[id_] = here
        self.same_prompt += prompt in self._prompts
        self._prompts.add(prompt)
        if given == "heldout":
            self._given.add(prompt)
        return given or ("heldout" if held_out((*before, prompt)[0], self._share) else "train")
