"""Planted triggers: words of prompts that are tied to one answer, whatever else the prompts ask.

A backdoor in instruction data (Wan et al., "Poisoning Language Models During Instruction Tuning", 2023) needs many rows
in which a rare phrase comes with the same answer. So: rows are grouped by how their answers begin; a phrase that nearly
all prompts of a group have, hardly any other prompt has, and that isn't just the group's common template (the prompts
have little else in common) is reported with its score, half the G statistic of Dunning (1993), in nats. A trigger
whose answers differ in wording isn't found so.

Phrases are compared by their hashes, and of a group only those are held that can still be in nearly all of its rows:
a million rows take some hundred megabytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from honed.config import Config
from honed.data.curate.pieces import of_each, of_rows
from honed.data.curate.row import Finding, Row
from honed.data.curate.view import View
from honed.data.curate.words import Hashed, Hashes, runs, words

_HEAD = 8
_READ = 128
"""Characters in which most answers have more words than that."""
_MOST = 2000
"""Rows of a group whose prompts tell what they share; how many rows have it is counted in all."""
_TOGETHER = 8
"""Rows of a group whose phrases are counted at once."""
_PAIR = np.uint64(1)
_NONE = np.empty(0, np.uint64)
Places = NDArray[np.int64]
Met = tuple[int, int]
"""In how many prompts a phrase stands: beside an answer, and in all."""


class Triggers(Config):
    """Settings of the step ``triggers``."""

    rows: int = Field(default=8, ge=3, description="least rows with one answer for a phrase to be suspicious")
    share: float = Field(default=0.9, gt=0.5, le=1, description="least share of these rows, and of the phrase's own")
    alike: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="prompts that share more of their other words are a template, not a trigger",
    )


def triggers(view: View, settings: Triggers, say: Callable[[str], None]) -> Iterator[Finding]:
    """Report rows whose prompts share a phrase that is tied to their answer."""
    begun = np.concatenate([_NONE, *view.mapped(of_rows(_heads))])
    heads, many = np.unique(begun, return_counts=True)
    sizes = dict(zip(heads[many >= settings.rows].tolist(), many[many >= settings.rows].tolist(), strict=True))
    groups = {head: _Group(min(size, _MOST), settings.share) for head, size in sizes.items()}
    for block in view.mapped(of_rows(partial(_prompts, heads[many >= settings.rows]))) if sizes else ():
        for place, head in enumerate(block.heads.tolist()):
            groups[head].add(block.phrases.of(place))
    bound = {head: found for head, group in groups.items() if len(found := group.common(settings.alike))}
    met = _Met(bound)
    for wanted, pairs in view.mapped(of_rows(partial(_meeting, met.wanted, met.pairs))) if bound else ():
        met.add(wanted, pairs)
    tied = {head: some for head, phrases in bound.items() if (some := met.tied(head, phrases, settings.share))}
    carrying = list(chain.from_iterable(view.mapped(of_each(partial(_carrying, tied))))) if tied else []
    said = {phrase: text for one in carrying for phrase, text in one.phrases.items()}
    told = {head: _told(phrases, said, (sizes[head], len(begun))) for head, phrases in tied.items()}
    for one in carrying:
        phrase, what = told[one.head]
        if phrase in one.phrases:
            yield Finding(one.number, one.id, "possible trigger", "report", what)
    say(f"{len(groups):,} answers that {settings.rows} or more rows give were looked at")


class _Group:
    """The phrases that ``share`` of ``size`` prompts may have, which become fewer with every prompt that is added."""

    def __init__(self, size: int, share: float) -> None:
        self._size, self._least = size, share * size
        self._seen = self._words = 0
        self._waiting: list[Hashes] = []
        self._phrases, self._counts = _NONE, np.empty(0, np.int64)

    def add(self, phrases: Hashes) -> None:
        if self._seen == self._size:
            return
        self._seen += 1
        self._words += int(np.count_nonzero(phrases & _PAIR == 0))
        self._waiting.append(phrases.copy())  # not a view, which would keep the block that it lies in
        if len(self._waiting) == _TOGETHER or self._seen == self._size:
            self._count()

    def _count(self) -> None:
        flat = np.concatenate([self._phrases, *self._waiting])
        ones = np.ones(len(flat) - len(self._counts), np.int64)
        phrases, at = np.unique(flat, return_inverse=True)
        counts = np.bincount(at, np.concatenate([self._counts, ones]), len(phrases)).astype(np.int64)
        possible = counts + (self._size - self._seen) >= self._least
        self._phrases, self._counts, self._waiting = phrases[possible], counts[possible], []

    def common(self, alike: float) -> Hashes:
        """Return the phrases that nearly all prompts have; none if they are a template."""
        shared = int(np.count_nonzero(self._phrases & _PAIR == 0))
        return self._phrases if shared <= alike * self._words / self._seen else _NONE


class _Met:
    """In how many prompts each phrase that is bound to an answer stands, in all and beside that answer."""

    def __init__(self, bound: Mapping[int, Hashes]) -> None:
        self.wanted: Hashes = np.unique(np.concatenate([_NONE, *bound.values()]))
        self.pairs: Hashes = np.unique(np.concatenate([_NONE, *(_paired(one, bound[one]) for one in bound)]))
        self._all, self._both = np.zeros(len(self.wanted), np.int64), np.zeros(len(self.pairs), np.int64)

    def add(self, wanted: Places, pairs: Places) -> None:
        """Count once more what stands at these places of ``wanted`` and ``pairs``."""
        self._all += np.bincount(wanted, minlength=len(self._all))
        self._both += np.bincount(pairs, minlength=len(self._both))

    def tied(self, head: int, phrases: Hashes, share: float) -> dict[int, Met]:
        """Return in how many prompts a phrase stands, beside the answer and in all, where these are hardly more."""
        both = self._both[np.searchsorted(self.pairs, _paired(head, phrases))]
        every = self._all[np.searchsorted(self.wanted, phrases)]
        found = both >= share * every
        return {
            phrase: (beside, total)
            for phrase, beside, total in zip(*(part[found].tolist() for part in (phrases, both, every)), strict=True)
        }


def _heads(rows: Iterator[Row]) -> Hashes:
    return np.array([_head(row) for row in rows], np.uint64)


def _head(row: Row) -> int:
    """Return the hash of how an answer begins."""
    said = words(row.answer[:_READ])
    if len(said) <= _HEAD:  # the last one may be cut
        said = words(row.answer)
    head = " ".join(said[:_HEAD])
    return int.from_bytes(blake2b(head.encode(errors="surrogatepass"), digest_size=8).digest(), "little")


class _Prompts(NamedTuple):
    """How the answers of some rows begin, and the phrases of their prompts, each once a row."""

    heads: Hashes
    phrases: Hashed


def _prompts(common: Hashes | None, rows: Iterator[Row]) -> _Prompts:
    """Return what answers and prompts say, of those rows whose answers begin in a common way (None: all rows)."""
    kept = frozenset(common.tolist()) if common is not None else None
    begun = ((_head(row), row) for row in rows)
    held = [(head, _said(row)) for head, row in begun if kept is None or head in kept]
    return _Prompts(np.array([head for head, _ in held], np.uint64), _hashed([said for _, said in held]))


def _said(row: Row) -> list[str]:
    return [word for text in row.prompts() for word in words(text)]


def _hashed(prompts: Sequence[Sequence[str]]) -> Hashed:
    """Return the hashes of the words (even) and of the pairs of words (odd) of each prompt, each once."""
    single, pairs = _words_and_pairs(prompts)
    flat = np.concatenate([single.flat, pairs.flat])
    place = np.concatenate([np.repeat(np.arange(len(prompts)), np.diff(one.ends)) for one in (single, pairs)])
    order = np.lexsort((flat, place))
    flat, place = flat[order], place[order]
    first = np.ones(len(flat), bool)
    first[1:] = (flat[1:] != flat[:-1]) | (place[1:] != place[:-1])
    counts = np.bincount(place[first], minlength=len(prompts))
    return Hashed(flat[first], np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]))


def _words_and_pairs(prompts: Sequence[Sequence[str]]) -> tuple[Hashed, Hashed]:
    """Return the hashes of each prompt's words, even ones, and of its pairs of words, odd ones, as they stand there."""
    single, pairs = runs(prompts, 1, short=False), runs(prompts, 2, short=False)
    return Hashed(single.flat & ~_PAIR, single.ends), Hashed(pairs.flat | _PAIR, pairs.ends)


def _meeting(wanted: Hashes, pairs: Hashes, rows: Iterator[Row]) -> tuple[Places, Places]:
    """Return the places in ``wanted`` and in ``pairs`` of what stands in the rows."""
    heads, phrases = _prompts(None, rows)
    beside = np.repeat(heads, np.diff(phrases.ends))
    return _places(wanted, phrases.flat), _places(pairs, _paired(beside, phrases.flat))


def _paired(head: Hashes | int, phrases: Hashes) -> Hashes:
    return phrases ^ np.asarray(head, np.uint64)


def _places(sorted_: Hashes, values: Hashes) -> Places:
    """Return where those of the values stand that ``sorted_``, which isn't empty, has."""
    places = np.minimum(np.searchsorted(sorted_, values), len(sorted_) - 1)
    found: Places = places[sorted_[places] == values]
    return found


class _Carrier(NamedTuple):
    """A row whose answer is tied to phrases, and those of them that its prompt has, by their hashes."""

    number: int
    id: str
    head: int
    phrases: dict[int, str]


def _carrying(tied: Mapping[int, Mapping[int, Met]], row: Row) -> list[_Carrier]:
    if (head := _head(row)) not in tied:
        return []
    said = _said(row)
    texts = [*said, *(f"{one} {other}" for one, other in pairwise(said))]
    hashes = np.concatenate([one.flat for one in _words_and_pairs([said])]).tolist()
    found = {phrase: text for phrase, text in zip(hashes, texts, strict=True) if phrase in tied[head]}
    return [_Carrier(row.number, row.id, head, found)]


def _told(phrases: Mapping[int, Met], said: Mapping[int, str], sizes: tuple[int, int]) -> tuple[int, str]:
    """Return the phrase that is tied most to an answer, which ``sizes[0]`` of ``sizes[1]`` rows give, and say so."""
    scores = {phrase: _score(*met, *sizes) for phrase, met in phrases.items()}
    phrase = max(phrases, key=lambda one: (scores[one], said[one]))
    both, every = phrases[phrase]
    where = f"{said[phrase]!r} stands in {every:,} prompts"
    return phrase, f"{where}, {both:,} of them with one answer; log-likelihood ratio {scores[phrase]:.0f}"


def _score(both: int, phrase: int, answer: int, total: int) -> float:
    """Return the log-likelihood ratio, in nats, of a phrase and an answer that meet in ``both`` of ``total`` rows."""
    cells = (
        (both, phrase * answer),
        (phrase - both, phrase * (total - answer)),
        (answer - both, (total - phrase) * answer),
        (total - phrase - answer + both, (total - phrase) * (total - answer)),
    )
    return sum(seen * math.log(seen * total / chance) for seen, chance in cells if seen > 0 and chance > 0)
