"""Pass rates with their intervals, and the tags by which they are also given."""

from __future__ import annotations

from collections.abc import Iterable

from honed.evaluate.stats import Interval, wilson
from honed.records import Record

SEGMENTS = ("task", "audience", "benefit")
"""The tags by which every metric is also given."""


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
    return Rate(passed=passed, n=len(known), rate=passed / len(known), interval=wilson(passed, len(known)))
