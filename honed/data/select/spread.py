"""Choosing rows that are far from one another, or near to those of a target, by their vectors."""

from __future__ import annotations

import numpy as np

from honed.data.score.vectors import Vectors


def k_centre(unit: Vectors, count: int, first: int) -> list[int]:
    """Return ``count`` places, each the farthest from all before it, beginning with ``first``.

    ``unit`` are vectors of length 1; far is a low cosine. No row is then more than twice as far from a chosen one as
    the best choice would have it: T. F. Gonzalez, "Clustering to minimize the maximum intercluster distance" (1985);
    for training data: O. Sener and S. Savarese, "Active Learning for Convolutional Neural Networks" (2018).
    """
    chosen = [first]
    nearest = unit @ unit[first]
    nearest[first] = np.inf
    while len(chosen) < min(count, len(unit)):
        place = int(np.argmin(nearest))
        chosen.append(place)
        np.maximum(nearest, unit @ unit[place], out=nearest)
        nearest[place] = np.inf
    return chosen


def round_robin(target: Vectors, unit: Vectors, count: int) -> list[int]:
    """Return ``count`` places: the target's rows take turns, each taking the row nearest to it that is left.

    So every row of the target has its share, also one that few rows are like. H. Ivison et al., "Large-Scale Data
    Selection for Instruction Tuning" (2025), section 3 (RDS+). Memory: ``count`` places for each row of the target.
    """
    count = min(count, len(unit))
    lists = [np.argsort(-(unit @ one), kind="stable")[:count].astype(np.int32) for one in target]
    at = [0] * len(lists)
    chosen: list[int] = []
    taken = np.zeros(len(unit), bool)
    while len(chosen) < count:
        for turn, places in enumerate(lists):
            while taken[places[at[turn]]]:  # each list has as many places as are taken in all
                at[turn] += 1
            taken[places[at[turn]]] = True
            chosen.append(int(places[at[turn]]))
            if len(chosen) == count:
                break
    return chosen
