"""How far a judge agrees with people on labelled pairs, and whether it may be trusted for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, cast

import numpy as np

from honed.evaluate import stats
from honed.evaluate.judge import kappa
from honed.evaluate.judge.contest import Choice
from honed.evaluate.judge.labels import Labelled
from honed.evaluate.judge.pairwise import Order, Verdict, order
from honed.evaluate.rates import Rate, rate
from honed.evaluate.stats import Interval
from honed.records import Record

SIDES: tuple[Choice, ...] = ("base", "tuned", "tie")


class Length(Record):
    """How often the longer answer is preferred, where judge and people both prefer one and the lengths differ.

    ``bias`` is the judge's share minus the people's on the same pairs, with its bootstrap interval.
    """

    n: int
    judge: float
    people: float
    bias: float
    interval: Interval


class Among(Record):
    """How far people agree among themselves: Krippendorff's alpha on the pairs that several of them judged."""

    raters: int
    pairs: int
    alpha: float | None
    interval: Interval | None


class Agreement(Record):
    """A judge beside people. ``rate`` counts base, tuned and tie as three answers, an unusable reply as a wrong one.

    ``kappa`` is Cohen's over the same, with its bootstrap interval; None where everybody always says the same.
    ``sides`` are the rates on the pairs for which people chose that side; ``decided`` leaves out ties of either.
    """

    n: int
    unusable: int
    rate: Rate
    kappa: float | None
    kappa_interval: Interval
    sides: Mapping[str, Rate]
    decided: Rate | None
    order: Order
    length: Length | None
    people: Among | None


class CriterionAgreement(Record):
    """One criterion. ``kappa`` is Cohen's with squared weights: 4 for 5 is a small disagreement, 1 for 5 a large one.

    ``near`` counts scores at most one apart; ``bias`` is the mean of the judge's score minus the people's.
    """

    n: int
    exact: Rate
    near: Rate
    kappa: float | None
    kappa_interval: Interval
    bias: float
    bias_interval: Interval


class ScoreAgreement(Record):
    """A judge's scores beside people's: labelled answers, unusable replies (left out below), and each criterion."""

    n: int
    unusable: int
    criteria: Mapping[str, CriterionAgreement]


class Trust(Record):
    """Whether a judge may be relied on, why, and the numbers with the job that measured them."""

    state: Literal["yes", "no", "not measured"]
    why: str
    job: str = ""
    choices: Agreement | None = None
    scores: ScoreAgreement | None = None


def agreement(labelled: Sequence[Labelled], found: Sequence[Verdict], raters: int) -> Agreement:
    """Return how the judge's verdicts on labelled pairs, in the same order, agree with what most people said."""
    people = [one.choice for one in labelled]
    judge = [one.choice or "unusable" for one in found]
    sides: dict[str, Rate] = {
        side: rate(mine == side for theirs, mine in zip(people, judge, strict=True) if theirs == side)
        for side in SIDES
        if side in people
    }
    decided = [mine == theirs for theirs, mine in zip(people, judge, strict=True) if _decided(theirs, mine)]
    return Agreement(
        n=len(people),
        unusable=judge.count("unusable"),
        rate=rate(mine == theirs for theirs, mine in zip(people, judge, strict=True)),
        kappa=kappa.cohen(people, judge),
        kappa_interval=kappa.cohen_interval(people, judge),
        sides=sides,
        decided=rate(decided) if decided else None,
        order=order(found),
        length=_length(labelled, found),
        people=among([one.said for one in labelled], raters),
    )


def among(said: Sequence[Sequence[Choice]], raters: int) -> Among | None:
    """Return how far people agree among themselves; None if no pair has the words of two."""
    shared = [labels for labels in said if len(labels) > 1]
    if not shared:
        return None
    alpha = kappa.krippendorff(shared)
    interval = None if alpha is None else kappa.krippendorff_interval(shared)
    return Among(raters=raters, pairs=len(shared), alpha=alpha, interval=interval)


def trust(found: Agreement, least_kappa: float, least_labels: int, job: str = "") -> Trust:
    """Return whether such an agreement earns trust: the whole interval of kappa must lie at ``least_kappa`` or above.

    0.4 is where J. R. Landis, G. G. Koch, "The measurement of observer agreement for categorical data", Biometrics 33
    (1977) begin to call agreement moderate. Too few labels are never enough, however well they agree.
    """
    said = kappa.said(found.kappa, found.kappa_interval)
    if found.n < least_labels:
        return Trust(
            state="no", why=f"{found.n} labelled pairs, and {least_labels} are asked for", job=job, choices=found
        )
    if found.kappa is None or found.kappa_interval.low < least_kappa:
        why = f"kappa with people is {said}, and not shown to be {least_kappa:g} or more"
        return Trust(state="no", why=why, job=job, choices=found)
    return Trust(state="yes", why=f"kappa with people is {said} on {found.n} pairs", job=job, choices=found)


def _decided(theirs: str, mine: str) -> bool:
    return {theirs, mine} <= {"base", "tuned"}


def _length(labelled: Sequence[Labelled], found: Sequence[Verdict]) -> Length | None:
    judge, people = [], []
    for label, verdict in zip(labelled, found, strict=True):
        longer = len(label.pair.tuned) - len(label.pair.base)
        if longer and verdict.choice and _decided(label.choice, verdict.choice):
            side = "tuned" if longer > 0 else "base"
            judge.append(verdict.choice == side)
            people.append(label.choice == side)
    if not judge:
        return None
    differences = np.asarray(judge, dtype=float) - np.asarray(people, dtype=float)
    return Length(
        n=len(judge),
        judge=float(np.mean(judge)),
        people=float(np.mean(people)),
        bias=float(differences.mean()),
        interval=stats.bootstrap(cast(Sequence[float], differences)),
    )
