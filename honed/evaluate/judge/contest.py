"""Wins, ties and losses of paired answers: the win rate with its interval, and what it shows, by family of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from honed.evaluate import families, stats
from honed.evaluate.stats import SMALLEST, Interval, Pairs, Verdict
from honed.records import Record

Choice = Literal["base", "tuned", "tie"]


class Bout(NamedTuple):
    """One prompt's verdict, with the prompt's family and tags."""

    choice: Choice
    family: str
    tags: Mapping[str, str]


class Contest(Record):
    """A group of prompts. ``win_rate`` is the tuned model's: its wins and half of the ties, as a share of ``n``.

    ``interval`` is that of the win rate: Newcombe's of wins minus losses, widened by the design effect of ``families``.
    ``p_value`` is the exact sign test's, in which ties say nothing and a family counts once (``ranks.flip``);
    ``p_adjusted`` that one after Holm's step over the groups of one tag.
    """

    name: str
    n: int
    won: int
    tied: int
    lost: int
    win_rate: float
    interval: Interval
    families: int
    design_effect: float
    p_value: float
    p_adjusted: float
    verdict: Verdict


class Groups(Record):
    """The groups of one tag; ``small`` ones have too few prompts to say anything: only their sizes."""

    contests: tuple[Contest, ...]
    small: Mapping[str, int]


def contest(name: str, bouts: Sequence[Bout]) -> Contest:
    """Return what at least one verdict shows, as the only group there is."""
    before = [bout.choice == "base" for bout in bouts]
    after = [bout.choice == "tuned" for bout in bouts]
    won, lost = sum(after), sum(before)
    counts = Pairs(both=0, won=won, lost=lost, neither=len(bouts) - won - lost)
    by = families.sums(before, after, [bout.family for bout in bouts])
    effect = families.design_effect(counts, by)
    span = stats.newcombe(counts, effect=effect)
    p_value = families.test(counts, by)
    return Contest(
        name=name,
        n=counts.n,
        won=won,
        tied=counts.neither,
        lost=lost,
        win_rate=(1 + counts.difference) / 2,
        interval=Interval((1 + span.low) / 2, (1 + span.high) / 2),
        families=len(by.sizes),
        design_effect=effect,
        p_value=p_value,
        p_adjusted=p_value,
        verdict=stats.verdict(counts.difference, p_value),
    )


def by_tag(tag: str, bouts: Sequence[Bout], smallest: int = SMALLEST) -> Groups:
    """Return a contest for each value of ``tag``, each p-value adjusted for there being several."""
    cells: dict[str, list[Bout]] = {}
    for bout in bouts:
        if tag in bout.tags:
            cells.setdefault(bout.tags[tag], []).append(bout)
    found = [contest(name, cells[name]) for name in sorted(cells) if len(cells[name]) >= smallest]
    adjusted = stats.holm([one.p_value for one in found])
    return Groups(
        contests=tuple(
            one.model_copy(
                update={"p_adjusted": p_value, "verdict": stats.verdict(one.win_rate - 0.5, p_value)},
            )
            for one, p_value in zip(found, adjusted, strict=True)
        ),
        small={name: len(group) for name, group in sorted(cells.items()) if len(group) < smallest},
    )
