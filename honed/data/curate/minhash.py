"""Which rows may be near duplicates: MinHash signatures made in Rust, and bands of them that are equal.

Broder, "On the resemblance and containment of documents" (1997); the bands as in Leskovec, Rajaraman and Ullman,
"Mining of Massive Datasets", chapter 3. Signatures are those of the library rensa.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

from honed.data.curate.words import Hashed

PERMUTATIONS = 128
_SEED = 42
_MIX = np.uint64(0x9E3779B97F4A7C15)
_RECALL = 0.98
_ALL_PAIRS = 16
"""Of a larger group of equal bands, each row is paired with the first and with its neighbours, not with all."""
_MARGIN = 4.0
"""Standard deviations that an estimate may lie under the threshold before a pair isn't looked at."""

Signatures = NDArray[np.uint32]
Pairs = NDArray[np.int64]


def signatures(hashed: Hashed) -> Signatures:
    """Return a signature (PERMUTATIONS numbers) for each text."""
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(
        hashed.flat, hashed.ends.astype(np.uint64), PERMUTATIONS, _SEED
    )
    return np.array(matrix.to_rows(), np.uint32).reshape(-1, PERMUTATIONS)


def band(threshold: float) -> int:
    """Return how many numbers make a band: the most that find 98 % of the pairs whose Jaccard is ``threshold``."""
    sizes = [rows for rows in range(1, 33) if 1 - (1 - threshold**rows) ** (PERMUTATIONS // rows) >= _RECALL]
    return max(sizes, default=1)


def candidates(signed: Signatures, threshold: float) -> Pairs:
    """Return pairs of places whose rows share a band and whose estimated Jaccard isn't far under ``threshold``.

    Shape (pairs, 2), each pair once, the smaller place first. Memory: one band at a time, and the pairs.
    """
    rows = band(threshold)
    least = threshold - _MARGIN * (threshold * (1 - threshold) / PERMUTATIONS) ** 0.5
    found: set[tuple[int, int]] = set()
    for start in range(0, PERMUTATIONS - rows + 1, rows):
        pairs = np.array(list(_pairs(signed[:, start : start + rows])), np.int64).reshape(-1, 2)
        for block in np.array_split(pairs, len(pairs) // 65536 + 1):
            alike = (signed[block[:, 0]] == signed[block[:, 1]]).mean(axis=1) >= least
            found.update(map(tuple, block[alike].tolist()))
    return np.array(sorted(found), np.int64).reshape(-1, 2)


def _pairs(part: Signatures) -> Iterator[tuple[int, int]]:
    whole = np.zeros(len(part), np.uint64)  # equal bands have equal hashes; an estimate is made of every pair after all
    for column in part.T:
        whole = (whole ^ column) * _MIX
        whole ^= whole >> np.uint64(29)
    order = np.argsort(whole, kind="stable")
    same = whole[order][1:] == whole[order][:-1]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    for start, end in edges.reshape(-1, 2).tolist():
        group = order[start : end + 1].tolist()
        if len(group) <= _ALL_PAIRS:
            yield from combinations(group, 2)
            continue
        yield from ((group[0], other) for other in group[1:])
        yield from pairwise(group[1:])
