"""A group of rows under two models: rates, the paired difference, and what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from honed.evaluate import families, stats
from honed.evaluate.rates import Rate, rate
from honed.evaluate.stats import MARGIN, Interval, Pairs, Verdict
from honed.records import Record


class Judged(NamedTuple):
    """One row's verdicts: of the base, of the tuned model, each also guarded, and of the floors."""

    before: bool
    after: bool
    before_guarded: bool
    after_guarded: bool
    floors: Mapping[str, bool]
    family: str


class Change(Record):
    """How passes by answers that aren't vacuous changed: counts, and what they show, as those of all passes do."""

    both: int
    won: int
    lost: int
    neither: int
    design_effect: float
    difference: float
    interval: Interval
    p_better: float
    p_worse: float

    @property
    def pairs(self) -> Pairs:
        """The counts, as the statistics take them."""
        return Pairs(self.both, self.won, self.lost, self.neither)


class Segment(Record):
    """A group of rows under both models. Rates, differences and intervals are fractions, not percentages.

    ``interval`` is Newcombe's, ``bootstrap`` the resampled one, both by family of rows: ``families`` is their number,
    ``design_effect`` how many rows count as one. ``p_value`` is the exact two-sided one of these rows alone,
    ``p_adjusted`` that one after Holm's step over the groups of the same tag; ``p_better`` and ``p_worse`` are its
    one-sided parts, ``p_fall`` the p-value of a fall of five points or more. ``verdict`` rests on the adjusted ones.
    The guarded rates count passes by answers that aren't vacuous, ``guarded`` is their paired change.
    """

    name: str
    n: int
    base: Rate
    tuned: Rate
    base_guarded: Rate
    tuned_guarded: Rate
    guarded: Change
    floors: Mapping[str, Rate]
    both: int
    won: int
    lost: int
    neither: int
    families: int
    design_effect: float
    difference: float
    interval: Interval
    bootstrap: Interval
    p_value: float
    p_better: float
    p_worse: float
    p_fall: float
    p_adjusted: float
    verdict: Verdict

    @property
    def pairs(self) -> Pairs:
        """The counts, as the statistics take them."""
        return Pairs(self.both, self.won, self.lost, self.neither)


def segment(name: str, rows: Sequence[Judged]) -> Segment:
    """Return what at least one row shows, as the only group there is."""
    before, after = [row.before for row in rows], [row.after for row in rows]
    names = [row.family for row in rows]
    counts = stats.count(before, after)
    by = families.sums(before, after, names)
    effect = families.design_effect(counts, by)
    p_value, p_fall = families.test(counts, by), stats.not_worse(counts, MARGIN, effect)
    return Segment(
        name=name,
        n=counts.n,
        base=rate(before),
        tuned=rate(after),
        base_guarded=rate(row.before_guarded for row in rows),
        tuned_guarded=rate(row.after_guarded for row in rows),
        guarded=_change([row.before_guarded for row in rows], [row.after_guarded for row in rows], names),
        floors={
            floor: rate(row.floors[floor] for row in rows)
            for floor in ("constant", "echo")
            if all(floor in row.floors for row in rows)
        },
        both=counts.both,
        won=counts.won,
        lost=counts.lost,
        neither=counts.neither,
        families=len(by.sizes),
        design_effect=effect,
        difference=counts.difference,
        interval=stats.newcombe(counts, effect=effect),
        bootstrap=families.bootstrap(by),
        p_value=p_value,
        p_better=families.test(counts, by, "greater"),
        p_worse=families.test(counts, by, "less"),
        p_fall=p_fall,
        p_adjusted=p_value,
        verdict=stats.verdict(counts.difference, p_value, p_fall),
    )


def _change(before: Sequence[bool], after: Sequence[bool], names: Sequence[str]) -> Change:
    counts, by = stats.count(before, after), families.sums(before, after, names)
    effect = families.design_effect(counts, by)
    return Change(
        both=counts.both,
        won=counts.won,
        lost=counts.lost,
        neither=counts.neither,
        design_effect=effect,
        difference=counts.difference,
        interval=stats.newcombe(counts, effect=effect),
        p_better=families.test(counts, by, "greater"),
        p_worse=families.test(counts, by, "less"),
    )


def adjusted(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Give each group its verdict, in the knowledge that there are several."""
    found = []
    p_values = stats.holm([one.p_value for one in segments])
    falls = stats.holm([one.p_fall for one in segments])
    for one, p_value, p_fall in zip(segments, p_values, falls, strict=True):
        verdict = stats.verdict(one.difference, p_value, p_fall)
        found.append(one.model_copy(update={"p_adjusted": p_value, "verdict": verdict}))
    return tuple(found)
