"""Where failures gather: each group of rows against all others, by an exact test that knows how many there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.special import gammaln

from honed.evaluate import stats, words
from honed.evaluate.errors.facets import Facet, Told, Unit
from honed.evaluate.rates import Rate, rate
from honed.evaluate.stats import LEVEL, SMALLEST, Interval
from honed.records import Record

EXAMPLES = 3


class Cluster(Record):
    """A group of rows and how often it fails, beside all others. Rates are of failures, as fractions.

    ``unit`` is what is counted: ``rows``, or ``instructions`` where each instruction of a row has a verdict of its own.
    ``gap`` is how much more often than the others it fails, with Newcombe's interval of independent groups; ``p_value``
    is Fisher's exact two-sided one, ``p_adjusted`` that one after Holm's step over all groups of all kinds. ``shown``
    says whether the group fails more. ``before``, ``won`` and ``lost`` (rows passed, and rows failed, by this model
    only) are beside another evaluation of the same rows. ``examples`` are ids of rows that fail.
    """

    kind: str
    name: str
    unit: str
    failed: Rate
    others: Rate
    gap: float
    interval: Interval
    p_value: float
    p_adjusted: float
    shown: bool
    before: Rate | None
    won: int
    lost: int
    examples: tuple[str, ...]

    @property
    def title(self) -> str:
        """The group's name as words; that of a constraint is an id, and stays as it is."""
        return self.name if self.kind == "constraint" else words.plain(self.name)

    @property
    def excess(self) -> float:
        """How many failures there are more than at the others' rate."""
        return self.failed.passed - self.others.rate * self.failed.n


def units(told: Sequence[Told]) -> list[Unit]:
    """Return each row as one that passes or fails in its groups; without the groups of its instructions (``parts``)."""
    found = []
    for one in told:
        own = _instructions(one)
        facets = tuple(facet for facet in one.facets if not (own and facet.kind == "constraint"))
        found.append(Unit(one.answer.row, one.failed, facets, one.answer.why))
    return found


def parts(told: Sequence[Told]) -> list[Unit]:
    """Return each instruction of the rows whose instructions are judged one by one."""
    return [
        Unit(one.answer.row, not part.passed, (Facet("constraint", part.id),), part.why)
        for one in told
        if _instructions(one)
        for part in one.parts
    ]


def find(told: Sequence[Told], before: Mapping[str, bool]) -> tuple[list[Cluster], dict[str, dict[str, int]]]:
    """Return the groups that are large enough, those with most failures too many first, and the sizes of the small.

    ``before`` are the verdicts of another model on the same rows; empty where there is none. A group of all rows has
    no others, and is left out.
    """
    found, small = _groups(units(told), "rows", before)
    more, few = _groups(parts(told), "instructions", {})
    found += more
    for kind, sizes in few.items():
        small.setdefault(kind, {}).update(sizes)
    adjusted = stats.holm([one.p_value for one in found])
    found = [
        one.model_copy(update={"p_adjusted": p_value, "shown": p_value < 1 - LEVEL and one.gap > 0})
        for one, p_value in zip(found, adjusted, strict=True)
    ]
    return sorted(found, key=lambda one: (not one.shown, -one.excess, one.kind, one.name)), small


def fisher(failed: int, n: int, others_failed: int, others_n: int) -> float:
    """Return the exact two-sided p-value of equal rates of two independent groups.

    All tables with the same margins that are no likelier than the one seen count. R. A. Fisher, "Statistical Methods
    for Research Workers" (1934), section 21.02.
    """
    whole = failed + others_failed
    low, high = max(0, whole - others_n), min(n, whole)
    at = np.arange(low, high + 1)
    logs = _choose(n, at) + _choose(others_n, whole - at) - _choose(n + others_n, np.array([whole]))
    chances = np.exp(logs)
    return min(1.0, float(chances[chances <= chances[failed - low] * (1 + 1e-9)].sum()))


def _choose(n: int, k: np.ndarray) -> np.ndarray:
    found: np.ndarray = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return found


def _instructions(told: Told) -> bool:
    return bool(told.parts) and told.answer.check is not None and told.parts[0].id != told.answer.check.verifier


def _groups(
    units: Sequence[Unit], unit: str, before: Mapping[str, bool]
) -> tuple[list[Cluster], dict[str, dict[str, int]]]:
    members: dict[Facet, list[Unit]] = {}
    for one in units:
        for facet in one.facets:
            members.setdefault(facet, []).append(one)
    failures = sum(one.failed for one in units)
    found: list[Cluster] = []
    small: dict[str, dict[str, int]] = {}
    for facet, rows in members.items():
        if len(rows) < SMALLEST or len(units) - len(rows) < SMALLEST:
            if len(rows) < SMALLEST:
                small.setdefault(facet.kind, {})[facet.name] = len(rows)
            continue
        found.append(_cluster(facet, unit, rows, (failures, len(units)), before))
    return found, small


def _cluster(
    facet: Facet, unit: str, rows: Sequence[Unit], whole: tuple[int, int], before: Mapping[str, bool]
) -> Cluster:
    failed = rate(one.failed for one in rows)
    others_failed, others_n = whole[0] - failed.passed, whole[1] - failed.n
    others = Rate(
        passed=others_failed,
        n=others_n,
        rate=others_failed / others_n,
        interval=stats.wilson(others_failed, others_n),
    )
    p_value = fisher(failed.passed, failed.n, others_failed, others_n)
    known = [(not one.failed, before[one.row]) for one in rows if one.row in before]
    return Cluster(
        kind=facet.kind,
        name=facet.name,
        unit=unit,
        failed=failed,
        others=others,
        gap=failed.rate - others.rate,
        interval=stats.gap((others_failed, others_n), (failed.passed, failed.n)),
        p_value=p_value,
        p_adjusted=p_value,
        shown=False,
        before=rate(not was for _, was in known) if known else None,
        won=sum(now and not was for now, was in known),
        lost=sum(was and not now for now, was in known),
        examples=examples(one.row for one in rows if one.failed),
    )


def examples(rows: Iterable[str]) -> tuple[str, ...]:
    """Return a few ids of rows, those that sort first: ids are hashes of the rows' texts, so nobody can pick."""
    return tuple(sorted(set(rows))[:EXAMPLES])
