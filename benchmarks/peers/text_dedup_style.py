"""Near duplicates as the scripts of text-dedup find them: a MinHash a row in numpy, bands, union-find, no comparison.

Written anew after the method that they share, so that it can be run with the same runs of words as ours: SHA-1 of each
run, 128 permutations modulo a Mersenne prime, tables of equal bands, and all but the first of each cluster goes.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence

import numpy as np

_PRIME = np.uint64((1 << 61) - 1)
_MOST = np.uint64((1 << 32) - 1)


def clusters(rows: Sequence[Iterable[tuple[str, ...]]], bands: int = 25, size: int = 5, seed: int = 42) -> list[int]:
    """Return for each row, given as its runs of words, the first row of its cluster."""
    draw = random.Random(seed)
    count = bands * size
    first = np.array([draw.randrange(1, 1 << 29) for _ in range(count)], np.uint64)
    second = np.array([draw.randrange(0, 1 << 29) for _ in range(count)], np.uint64)
    parent = list(range(len(rows)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = place = parent[parent[place]]
        return place

    tables: list[dict[bytes, int]] = [{} for _ in range(bands)]
    for place, runs in enumerate(rows):
        hashes = np.array(
            [int.from_bytes(hashlib.sha1(" ".join(run).encode()).digest()[:4], "little") for run in runs], np.uint64
        )
        signature = ((hashes[:, None] * first + second) % _PRIME & _MOST).min(axis=0)
        for band, table in enumerate(tables):
            other = table.setdefault(signature[band * size : (band + 1) * size].tobytes(), place)
            one, two = root(place), root(other)
            parent[max(one, two)] = min(one, two)
    return [root(place) for place in range(len(rows))]
