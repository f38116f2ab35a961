"""What a region is called: the words that tell it from the others, and its most typical instruction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import log, sqrt

import numpy as np

from honed.data.language import COMMON_WORDS
from honed.data.map.cluster import Clusters
from honed.data.score.vectors import Vectors

_SAID_OFTEN = (
    "a an i me my we us our you what how why when where who whom whose which would should could can do does did "
    "he she they them his her one two three some any more most other its it's i'm don't than then there these "
    "those so get use each following given many also just like make want need please tell give whether about "
    "between into out up were been being had known because in on at as no if but only all very much again over "
    "under"
)
_EMPTY = COMMON_WORDS | frozenset(_SAID_OFTEN.split())
"""Words that say nothing about what a request is about."""
_PRIOR = 0.05
_LEAST = 0.04
"""A word names a region only if this share of its rows has it."""


def telling(said: Sequence[str]) -> list[str]:
    """Leave out numbers and the words that say nothing about what a request is about."""
    return [word for word in said if word not in _EMPTY and any(map(str.isalpha, word))]


def distinctive(texts: Sequence[Sequence[str]], of: Sequence[int], count: int, words: int = 3) -> list[tuple[str, ...]]:
    """Return the words that tell each of ``count`` regions from all others, the most telling first.

    By the z-score of the log-odds of rows that have the word, with all rows as the prior: B. Monroe, M. Colaresi,
    K. Quinn, "Fightin' Words" (2008), section 3.5.1. Texts are ``telling`` words; those of one or two letters name
    nothing.
    """
    whole: Counter[str] = Counter()
    own: list[Counter[str]] = [Counter() for _ in range(count)]
    sizes = [0] * count
    for text, region in zip(texts, of, strict=True):
        kinds = {word for word in text if len(word) > 2 and word.isalpha()}
        whole.update(kinds)
        own[region].update(kinds)
        sizes[region] += 1
    rows = len(texts)
    named = []
    for region in range(count):
        found: list[tuple[float, str]] = []
        for word, here in own[region].items():
            if here < max(2, _LEAST * sizes[region]):
                continue
            elsewhere, prior = whole[word] - here, _PRIOR * whole[word]
            inside, outside = _odds(here + prior, sizes[region]), _odds(elsewhere + prior, rows - sizes[region])
            spread = sqrt(1 / (here + prior) + 1 / (elsewhere + prior))
            found.append((-(inside - outside) / spread, word))
        named.append(tuple(_different([word for _, word in sorted(found)], words)))
    return named


def typical(unit: Vectors, clusters: Clusters, lengths: Sequence[int], count: int = 3) -> list[list[int]]:
    """Return for each region the places of the rows nearest to its middle, short ones (characters) first choice."""
    cosines = (unit * clusters.middles[clusters.of]).sum(axis=1)
    readable = np.asarray(lengths) <= 140
    found = []
    for region in range(len(clusters.middles)):
        places = np.flatnonzero(clusters.of == region)
        order = np.lexsort((-cosines[places], ~readable[places]))
        found.append(places[order][:count].tolist())
    return found


def _odds(rows: float, of: int) -> float:
    return log(rows / max(of - rows, 0.5))


def _different(found: Sequence[str], count: int) -> list[str]:
    """Leave out words that only differ in their ending from one that is named already."""
    named: list[str] = []
    for word in found:
        if all(not word.startswith(one[: max(4, len(one) - 3)]) for one in named):
            named.append(word)
        if len(named) == count:
            break
    return named
