"""Pass rates with their intervals, and the tags by which they are also given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from honed.evaluate import stats
from honed.evaluate.stats import LEVEL, SMALLEST, Interval
from honed.records import Record

SUITE = "suite"
"""The tag that says which suite a row is of."""
SEGMENTS = ("task", "audience", "benefit", SUITE)
"""The tags by which every metric is also given; ``SUITE`` only where rows are of several."""


class Rate(Record):
    """A pass rate with its 95 % Wilson interval."""

    passed: int
    n: int
    rate: float
    interval: Interval


def rate(verdicts: Iterable[bool]) -> Rate:
    """Return the pass rate of at least one verdict."""
    known = list(verdicts)
    passed = sum(known)
    return Rate(passed=passed, n=len(known), rate=passed / len(known), interval=stats.wilson(passed, len(known)))


class Worst(Record):
    """The group of a tag that passes least often, and how far all other rows are ahead of it, as a fraction.

    The interval of ``gap`` is as wide as being chosen from ``of`` groups asks for: of level 1 - 0.05 / ``of``
    (O. J. Dunn, "Multiple comparisons among means", JASA 56 (1961)). It counts families of rows.
    """

    name: str
    rate: Rate
    others: Rate
    of: int
    gap: float
    interval: Interval


def split(cells: Mapping[str, Rate], smallest: int = SMALLEST) -> tuple[dict[str, Rate], dict[str, int]]:
    """Return the groups that are large enough to say something, and the size of each that isn't."""
    large = {name: cell for name, cell in cells.items() if cell.n >= smallest}
    return large, {name: cell.n for name, cell in cells.items() if cell.n < smallest}


def worst(cells: Mapping[str, Rate], effects: Mapping[str, float] | None = None) -> Worst | None:
    """Return the group that passes least often beside the others; None if there are fewer than two.

    ``effects`` are the design effects of the groups' rates (``families.rate_effect``), 1 where rows are independent.
    """
    if len(cells) < 2:
        return None
    name = min(cells, key=lambda one: (cells[one].rate, one))
    effects = effects or dict.fromkeys(cells, 1.0)
    passed = sum(cell.passed for cell in cells.values()) - cells[name].passed
    n = sum(cell.n for cell in cells.values()) - cells[name].n
    others = Rate(passed=passed, n=n, rate=passed / n, interval=stats.wilson(passed, n))
    level = 1 - (1 - LEVEL) / len(cells)
    apart = sum(cell.n * effects[one] for one, cell in cells.items() if one != name) / n
    first = (cells[name].passed / effects[name], cells[name].n / effects[name])
    interval = stats.gap(first, (passed / apart, n / apart), level)
    gap = others.rate - cells[name].rate
    return Worst(name=name, rate=cells[name], others=others, of=len(cells), gap=gap, interval=interval)
