"""Which answers a report shows: chosen by a rule that is printed with them, so that nobody can pick the fine ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Protocol, TypeVar

FATES = {
    "won": "won: only the tuned model passes",
    "lost": "lost: only the base passes",
    "both": "both pass",
    "neither": "neither passes",
    "unverified": "no verifier",
}
RULE = (
    "Chosen by a rule, not by hand: the places are shared among won, lost, both and neither as often as each occurs, "
    "each that occurs getting one at least; tasks take turns; within a task the row whose id, a hash of its text, "
    "sorts first is taken."
)


class Fated(Protocol):
    """A row with its outcome: a ``Pair``, or a row of a page's browser."""

    @property
    def row(self) -> str: ...  # noqa: D102 - as in ``Pair``

    @property
    def tags(self) -> Mapping[str, str]: ...  # noqa: D102

    @property
    def fate(self) -> str: ...  # noqa: D102


Row = TypeVar("Row", bound=Fated)


def order(rows: Sequence[Row], fates: Sequence[str]) -> list[Row]:
    """Return all rows by their outcome, in the order of ``fates``; within one tasks take turns."""
    return [row for fate in fates for row in _in_turns([row for row in rows if row.fate == fate])]


def pick(samples: Sequence[Row], limit: int) -> list[Row]:
    """Return ``limit`` rows at most, chosen by ``RULE``; those without a verifier fill what places are left."""
    groups = {fate: [pair for pair in samples if pair.fate == fate] for fate in FATES}
    shares = _shares({fate: len(group) for fate, group in groups.items() if group and fate != "unverified"}, limit)
    shares["unverified"] = limit - sum(shares.values())
    return [pair for fate, group in groups.items() for pair in _in_turns(group)[: shares.get(fate, 0)]]


def _shares(sizes: dict[str, int], limit: int) -> dict[str, int]:
    """Share the places one by one: each goes to the fate that is furthest below its due."""
    shares = dict.fromkeys(sizes, 0)
    for _ in range(min(limit, sum(sizes.values()))):
        open_ = [fate for fate in sizes if shares[fate] < sizes[fate]]
        neediest = max(open_, key=lambda fate: (shares[fate] == 0, sizes[fate] / (shares[fate] + 1)))
        shares[neediest] += 1
    return shares


def _in_turns(group: Sequence[Row]) -> list[Row]:
    tasks: dict[str, list[Row]] = {}
    for pair in sorted(group, key=lambda pair: (pair.tags.get("task", ""), pair.row)):
        tasks.setdefault(pair.tags.get("task", ""), []).append(pair)
    return [pair for turn in zip_longest(*tasks.values()) for pair in turn if pair is not None]
