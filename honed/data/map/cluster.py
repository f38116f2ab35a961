"""Regions: rows grouped by direction, the same for the same seed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from honed.data.score.vectors import Vectors

Places = NDArray[np.int64]

_STARTS = 3
_ROUNDS = 40


class Clusters(NamedTuple):
    """Which region each row is in, numbered by size from 0, and the regions' middles, vectors of length 1."""

    of: Places
    middles: Vectors


def count_for(rows: int) -> int:
    """Return how many regions that many rows get unless it is set: about the square root of a tenth, 4 to 30."""
    return int(np.clip(round((rows / 10) ** 0.5), min(4, max(1, rows // 2)), 30))


def nearest(unit: Vectors, middles: Vectors) -> Places:
    """Return the region whose middle is nearest to each row."""
    found: Places = np.argmax(unit @ middles.T, axis=1)
    return found


def clustered(unit: Vectors, count: int, seed: int) -> Clusters:
    """Group rows of length 1 into ``count`` regions, fewer if there are fewer different rows.

    Spherical k-means (I. Dhillon and D. Modha, 2001) from seeded starts (k-means++, D. Arthur and S. Vassilvitskii,
    2007); of a few starts the one whose rows are nearest to their middles.
    """
    random = np.random.default_rng(seed)
    count = min(count, len(np.unique(unit, axis=0)))
    tries = [_settle(unit, _starts(unit, count, random)) for _ in range(_STARTS)]
    of, middles = max(tries, key=lambda found: float((unit * found.middles[found.of]).sum()))
    sizes = np.bincount(of, minlength=len(middles))
    order = np.argsort(-sizes, kind="stable")[: int((sizes > 0).sum())]  # the empty ones come last
    rank = np.empty(len(middles), np.int64)
    rank[order] = np.arange(len(order))
    return Clusters(rank[of], middles[order])


def _starts(unit: Vectors, count: int, random: np.random.Generator) -> Vectors:
    chosen = [int(random.integers(len(unit)))]
    away = 1 - unit @ unit[chosen[0]]
    for _ in range(count - 1):
        weights = np.maximum(away, 0).astype(np.float64) ** 2
        chosen.append(int(random.choice(len(unit), p=weights / weights.sum())) if weights.any() else chosen[0])
        away = np.minimum(away, 1 - unit @ unit[chosen[-1]])
    return unit[chosen]


def _settle(unit: Vectors, middles: Vectors) -> Clusters:
    of = nearest(unit, middles)
    for _ in range(_ROUNDS):
        sums = np.zeros_like(middles)
        np.add.at(sums, of, unit)
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        middles = np.where(length > 1e-9, sums / np.maximum(length, 1e-9), middles)  # an empty region stays where it is
        now = nearest(unit, middles)
        if (now == of).all():
            break
        of = now
    return Clusters(of, middles)
