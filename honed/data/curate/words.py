"""Texts as words and runs of words, and the hashes of these, for whole batches at once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

Hashes = NDArray[np.uint64]

_BLANKS = str.maketrans(dict.fromkeys('.,;:!?"()[]{}“”„«»…。，、！？：；（）「」『』', " "))
_UNSPACED = re.compile("([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")
_ODD = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)


def normal(text: str) -> str:
    """Return ``text`` as exact comparison reads it: one form of each character (NFKC), no case, single blanks."""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return " ".join(plain.casefold().split())


def words(text: str) -> list[str]:
    """Return the words of ``text`` without case and punctuation; signs of arithmetic and code stay in them.

    Of scripts that set no blanks between words, each character is a word.
    """
    if not text.isascii():
        text = _UNSPACED.sub(r" \1 ", unicodedata.normalize("NFKC", text))
    return text.casefold().translate(_BLANKS).split()


class _Letters(dict[int, int | str | None]):
    """What becomes of each character in ``letters``; each is looked up once."""

    def __missing__(self, code: int) -> int | str | None:
        kind = unicodedata.category(chr(code))
        kept: int | str | None = code if kind[0] in "LMN" else " "
        if kind in ("Cf", "Me") or chr(code) in _APOSTROPHES or "\ufe00" <= chr(code) <= "\ufe0f":
            kept = None
        self[code] = kept
        return kept


_APOSTROPHES = frozenset("'`\u00b4\u02b9\u02bb\u02bc\u2018\u2019\u201b\u2032")
_LETTERS = _Letters()


def letters(text: str) -> list[str]:
    """Return the words of ``text`` by their letters and digits alone, so that typography makes no difference.

    Quotes of any form, dashes, emphasis (``**so**``), headings, soft hyphens, blanks of no width: apostrophes and what
    isn't seen are left out, all else parts words.
    """
    if not text.isascii():
        text = _UNSPACED.sub(r" \1 ", unicodedata.normalize("NFKC", text.replace("\u00b4", "'")))
    return text.casefold().translate(_LETTERS).split()


class Hashed(NamedTuple):
    """Runs of words of several texts, as hashes in a row: those of text i are ``flat[ends[i]:ends[i + 1]]``."""

    flat: Hashes
    ends: NDArray[np.int64]

    def of(self, place: int) -> Hashes:
        """Return the hashes of one text."""
        return self.flat[self.ends[place] : self.ends[place + 1]]


def runs(texts: Sequence[Sequence[str]], length: int, *, short: bool) -> Hashed:
    """Hash every run of ``length`` neighbouring words of each text.

    A text of fewer words is one run (``short``), or has none. Two different runs share a hash by chance about once in
    10^19 pairs: whoever must be sure compares the words.
    """
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    hashed = RMinHash.hash_token_sets(list(texts)) if len(texts) else []
    flat = _mixed(np.fromiter(chain.from_iterable(hashed), np.uint64, int(sizes.sum())))
    counts = np.maximum(sizes - length + 1, np.minimum(sizes, 1) if short else 0)
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])[:-1]
    first = np.repeat(starts - ends[:-1], counts) + np.arange(ends[-1])
    left = np.repeat(starts + sizes, counts) - first  # words from here to the text's end
    found = np.zeros(len(first), np.uint64)
    for step in range(length):
        inside = left > step
        found[inside] = _mixed(found[inside] * _ODD + flat[first[inside] + step])
    return Hashed(found, ends)


def _mixed(values: Hashes) -> Hashes:
    """Spread the bits of each value: words that are alike have alike hashes, and their runs must not."""
    values = (values ^ (values >> np.uint64(30))) * _MIX
    return values ^ (values >> np.uint64(27))


def shingles(said: Sequence[str], length: int) -> frozenset[tuple[str, ...]]:
    """Return the set of runs of ``length`` words; the whole text if it is shorter."""
    return frozenset(zip(*(said[step:] for step in range(length)), strict=False)) or frozenset([tuple(said)])


def jaccard(left: frozenset[tuple[str, ...]], right: frozenset[tuple[str, ...]]) -> float:
    """Return the share of runs that two texts have in common (Jaccard); 1 for two empty texts."""
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared) if left or right else 1.0


def batched(rows: Iterator[tuple[int, list[str]]], size: int) -> Iterator[tuple[list[int], list[list[str]]]]:
    """Yield numbered texts in batches of about ``size`` words."""
    numbers: list[int] = []
    texts: list[list[str]] = []
    held = 0
    for number, said in rows:
        numbers.append(number)
        texts.append(said)
        held += len(said) + 1
        if held >= size:
            yield numbers, texts
            numbers, texts, held = [], [], 0
    if texts:
        yield numbers, texts
