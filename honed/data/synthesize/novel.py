"""Which instructions say about the same as one that is there: runs of words compared exactly, without estimates."""

from __future__ import annotations

from collections import Counter

from honed.data.curate.words import jaccard, shingles, words

_RUN = 3
Run = tuple[str, ...]


class Novelty:
    """Instructions so far, each found by its runs of words. Memory: about the words of all of them."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._names: list[str] = []
        self._sets: list[frozenset[Run]] = []
        self._with: dict[Run, list[int]] = {}

    def beside(self, text: str) -> tuple[str, float] | None:
        """Return the instruction that is most like ``text``, and how much, if that is at least the threshold."""
        runs = shingles(words(text), _RUN)
        shared = Counter(place for run in runs for place in self._with.get(run, ()))
        alike = [(jaccard(runs, self._sets[place]), place) for place, _ in shared.most_common()]
        most, place = max(alike, default=(0.0, -1))
        return (self._names[place], most) if most >= self._threshold else None

    def add(self, name: str, text: str) -> None:
        """Remember an instruction."""
        runs = shingles(words(text), _RUN)
        for run in runs:
            self._with.setdefault(run, []).append(len(self._sets))
        self._names.append(name)
        self._sets.append(runs)
