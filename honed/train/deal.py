"""Who computes which pass of a step: dealt by cost, the same on every rank without a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """A pass of this rank: which of the step's. One that doesn't ``count`` only keeps pace with the other ranks."""

    index: int
    counts: bool = True


Turns = Callable[[Sequence[float]], list[Turn]]
"""Which of the passes with these costs (in tokens) this rank computes, in order."""


def balanced(costs: Sequence[float], ranks: int) -> list[list[Turn]]:
    """Return the passes of each rank, loads about equal: the dearest first, always to the rank with the least so far.

    Graham 1969, "Bounds on Multiprocessing Timing Anomalies": at most a third above the best. A rank may get none, rank
    0 never.
    """
    loads = [0.0] * ranks
    dealt: list[list[int]] = [[] for _ in range(ranks)]
    for index in _dearest_first(costs):
        least = loads.index(min(loads))
        dealt[least].append(index)
        loads[least] += costs[index]
    return [[Turn(index) for index in sorted(indices)] for indices in dealt]


def in_rounds(costs: Sequence[float], ranks: int) -> list[list[Turn]]:
    """Return the passes of each rank, equally many: all ranks compute a round together, of passes alike in cost.

    Where a round lacks passes, the cheapest stands in without counting.
    """
    order = _dearest_first(costs)
    rounds = [order[start : start + ranks] for start in range(0, len(order), ranks)]
    return [
        [Turn(one[rank]) if rank < len(one) else Turn(order[-1], counts=False) for one in rounds]
        for rank in range(ranks)
    ]


def _dearest_first(costs: Sequence[float]) -> list[int]:
    return sorted(range(len(costs)), key=lambda index: (-costs[index], index))
