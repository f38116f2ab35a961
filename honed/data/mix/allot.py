"""How many rows of each group: shares by weight and temperature, within what there is; pure.

Shares are weights to the power of 1/temperature, as for the languages of mBERT and the tasks of T5 (C. Raffel et al.,
"Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", JMLR 21 (2020), 3.5.2). Rows that
a group can't give go to the others by their shares; rounding is by largest remainders.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Group(NamedTuple):
    """How much is wanted of a group: a share by its ``weight``, or exactly ``fixed`` rows; ``room`` is what it has."""

    weight: float
    room: int
    fixed: int | None = None


def shares(weights: Sequence[float], temperature: float) -> list[float]:
    """Return what each weight gets of 1: 1 keeps them, above 1 makes them more equal; a weight of 0 gets nothing."""
    logs = [math.log(weight) / temperature if weight > 0 else -math.inf for weight in weights]
    top = max(logs, default=-math.inf)
    if top == -math.inf:
        return [0.0] * len(weights)
    raised = [math.exp(one - top) for one in logs]
    return [one / sum(raised) for one in raised]


def wanted(groups: Sequence[Group], temperature: float) -> list[float]:
    """Return each group's share of the rows that are dealt by weight; 0 for a fixed one."""
    return shares([0.0 if group.fixed is not None else group.weight for group in groups], temperature)


def largest(groups: Sequence[Group], temperature: float) -> int:
    """Return the most rows that can be dealt without a group falling short of its share or of its fixed number."""
    fixed = sum(min(group.fixed, group.room) for group in groups if group.fixed is not None)
    limits = [group.room / share for group, share in zip(groups, wanted(groups, temperature), strict=True) if share > 0]
    return fixed + math.floor(min(limits, default=0) * (1 + 1e-12))


def deal(total: int, groups: Sequence[Group], temperature: float) -> list[int]:
    """Return how many of ``total`` rows each group gets: never more than its room, all of ``total`` if there is room.

    A group that isn't short of rows is within one row of its share of what the short ones leave.
    """
    taken = [0 if group.fixed is None else min(group.fixed, group.room) for group in groups]
    left = max(0, total - sum(taken))
    share = wanted(groups, temperature)
    still = [at for at, one in enumerate(share) if one > 0]
    while still:
        whole = sum(share[at] for at in still)
        short = [at for at in still if left * share[at] / whole >= groups[at].room]
        if not short:
            break
        for at in short:
            taken[at] = groups[at].room
            left -= groups[at].room
        still = [at for at in still if at not in short]
    if still:
        whole = sum(share[at] for at in still)
        quotas = {at: left * share[at] / whole for at in still}
        for at, quota in quotas.items():
            taken[at] = math.floor(quota)
        rest = left - sum(taken[at] for at in still)
        for at in sorted(still, key=lambda at: (math.floor(quotas[at]) - quotas[at], at))[:rest]:
            taken[at] += 1
    return taken
