"""Near duplicates: found by MinHash, then compared word by word, so that no row is dropped on an estimate.

Two rows are near duplicates when (all of it over runs of words, without case and punctuation)
- the Jaccard similarity of the whole rows, system turns left out, is at least ``threshold``,
- that of their answers is at least ``answers``: one document with two questions makes two rows,
- their system turns and their tools are the same, and so are the numbers in them: "12 + 3" isn't "12 + 4".

Of each group the best stays (``exact.rank``), and a row is dropped only beside a row that stays and is its duplicate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
from pydantic import Field

from honed.config import Config
from honed.data.curate import minhash
from honed.data.curate.exact import rank
from honed.data.curate.pieces import of_rows
from honed.data.curate.row import Finding, Row
from honed.data.curate.view import View
from honed.data.curate.words import batched, jaccard, runs, shingles, words
from honed.records import Split

_BATCH_WORDS = 500_000
_KEPT = 64
"""Rows that stay in one group and that each further row is compared with beside its candidates, at most."""
_BLOCK = 20_000
"""Rows whose words are held at once for the comparison, about."""


class Near(Config):
    """Settings of the step ``near``."""

    threshold: float = Field(default=0.7, gt=0, le=1, description="least Jaccard similarity of two rows' runs of words")
    answers: float = Field(default=0.5, ge=0, le=1, description="least Jaccard similarity of their answers; 0: any")
    shingle: int = Field(default=3, ge=1, le=13, description="words in a run")
    numbers: bool = Field(default=True, description="whether rows with different numbers are never duplicates")
    heldout: bool = Field(default=True, description="whether near duplicates of held-out rows are reported")


class _Said(NamedTuple):
    """What of a row is compared."""

    rank: tuple[bool, int, int]
    id: str
    whole: frozenset[tuple[str, ...]]
    answer: frozenset[tuple[str, ...]]
    numbers: tuple[str, ...]
    system: str
    tools: str


def near(view: View, settings: Near, say: Callable[[str], None]) -> Iterator[Finding]:
    """Drop all but the best of rows that are near duplicates; report those across the split."""
    heldout = int(view.dataset.manifest.facts["heldout"]) if settings.heldout else 0
    signed = np.empty((view.size + heldout, minhash.PERMUTATIONS), np.uint32)
    here = _sign(view, "train", settings.shingle, signed[: view.size])
    held = _sign(view, "heldout", settings.shingle, signed[view.size :]) if heldout else []
    pairs = minhash.candidates(signed, settings.threshold)
    pairs = pairs[pairs[:, 0] < len(here)]  # pairs of two held-out rows are nobody's business
    say(f"{len(pairs):,} pairs compared word by word")
    beside: dict[int, list[int]] = {}
    for one, other in pairs.tolist():
        beside.setdefault(one, []).append(other)
        beside.setdefault(other, []).append(one)
    for block in _blocks(pairs):
        yield from _Groups(view, settings, here, held).findings(block, beside)


class _Groups:
    """Some groups of rows that may be duplicates of one another, with their words."""

    def __init__(self, view: View, settings: Near, here: list[int], held: list[int]) -> None:
        self._view, self._settings, self._here, self._held = view, settings, here, held
        self._said: dict[int, _Said] = {}

    def findings(self, groups: list[list[int]], beside: Mapping[int, list[int]]) -> Iterator[Finding]:
        """Yield what is to be dropped and reported of ``groups`` of places; ``beside`` are each one's candidates."""
        self._read({place for group in groups for place in group})
        for group in groups:
            mine = sorted((place for place in group if place < len(self._here)), key=lambda one: self._said[one].rank)
            kept: dict[int, None] = {}
            for place in mine:
                likely = [other for other in beside[place] if other in kept]
                found = self._first(place, [*likely, *islice(kept, _KEPT)])
                if found is None:
                    kept[place] = None
                else:
                    yield self._finding(place, *found, drop=True)
            others = [place for place in group if place >= len(self._here)]
            for place in kept:
                if found := self._first(place, others[:_KEPT]):
                    yield self._finding(place, *found, drop=False)

    def _first(self, place: int, others: list[int]) -> tuple[int, float] | None:
        for other in others:
            if (alike := self._alike(self._said[place], self._said[other])) is not None:
                return other, alike
        return None

    def _alike(self, one: _Said, other: _Said) -> float | None:
        if (one.system, one.tools, one.numbers) != (other.system, other.tools, other.numbers):
            return None
        alike = jaccard(one.whole, other.whole)
        enough = alike >= self._settings.threshold and jaccard(one.answer, other.answer) >= self._settings.answers
        return alike if enough else None

    def _finding(self, place: int, other: int, alike: float, *, drop: bool) -> Finding:
        one, beside = self._said[place], self._said[other]
        what = f"{alike:.2f} of its runs of words are those of {'row' if drop else 'the held-out row'} {beside.id}"
        kind = "near duplicate" if drop else "near a held-out row"
        return Finding(self._here[place], one.id, kind, "drop" if drop else "report", what, beside.id)

    def _read(self, places: set[int]) -> None:
        mine = {self._here[place]: place for place in places if place < len(self._here)}
        theirs = {self._held[place - len(self._here)]: place for place in places if place >= len(self._here)}
        for number, row in self._view.take(mine.keys()).items():
            self._said[mine[number]] = self._compared(row)
        for row in self._view.heldout() if theirs else ():
            if row.number in theirs:
                self._said[theirs[row.number]] = self._compared(row)

    def _compared(self, row: Row) -> _Said:
        said, length = words(_text(row)), self._settings.shingle
        numbers = tuple(word for word in said if any(map(str.isdigit, word))) if self._settings.numbers else ()
        answer = shingles(words(row.answer), length)
        return _Said(rank(row), row.id, shingles(said, length), answer, numbers, row.system, row.tools)


def _text(row: Row) -> str:
    return "\n".join([*row.prompts(), row.answer])


def _sign(view: View, split: Split, shingle: int, signed: minhash.Signatures) -> list[int]:
    """Write the rows' signatures into ``signed`` and return their numbers."""
    numbers: list[int] = []
    for some, theirs in view.mapped(of_rows(partial(_signed, shingle)), split):
        signed[len(numbers) : len(numbers) + len(some)] = theirs
        numbers += some
    return numbers


def _signed(shingle: int, rows: Iterator[Row]) -> tuple[list[int], minhash.Signatures]:
    numbers: list[int] = []
    made = [np.empty((0, minhash.PERMUTATIONS), np.uint32)]
    for some, texts in batched(((row.number, words(_text(row))) for row in rows), _BATCH_WORDS):
        made.append(minhash.signatures(runs(texts, shingle, short=True)))
        numbers += some
    return numbers, np.concatenate(made)


def _blocks(pairs: minhash.Pairs) -> Iterator[list[list[int]]]:
    """Yield groups of connected places, some together, so that not all rows' words are held at once."""
    parent: dict[int, int] = {}

    def root(place: int) -> int:
        while parent.setdefault(place, place) != place:
            parent[place] = place = parent[parent[place]]
        return place

    for one, other in pairs.tolist():
        parent[root(other)] = root(one)
    groups: dict[int, list[int]] = {}
    for place in sorted(parent):
        groups.setdefault(root(place), []).append(place)
    block: list[list[int]] = []
    held = 0
    for group in groups.values():
        block.append(group)
        held += len(group)
        if held >= _BLOCK:
            yield block
            block, held = [], 0
    if block:
        yield block
