"""What the gate finds: of a suite, of a group of its rows, and in all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from honed.evaluate.rates import Rate
from honed.evaluate.stats import Interval
from honed.records import Record

Role = Literal["improve", "keep"]
Verdict = Literal["promote", "hold", "reject"]
Finding = Literal["pass", "not seen to fall", "not shown", "too few", "fail"]
"""``fail`` is harm that is shown; ``too few`` rows, and what isn't shown, are neither a pass nor a failure.

``not seen to fall`` is said of a group only: no fall beyond its margin was seen, and none is ruled out.
"""


class GuardedOutcome(Record):
    """The same suite by passes whose answer isn't vacuous; ``p_value`` asks of these what it asks of all passes."""

    before: Rate
    after: Rate
    difference: float
    interval: Interval
    p_value: float


class AudienceOutcome(Record):
    """One group of a suite, by default of tag ``audience``; rates are fractions, ``reason`` a sentence.

    ``verdict`` is ``pass`` only where a fall of its margin is ruled out. A group of too few rows has no numbers.
    """

    name: str
    tag: str = "audience"
    n: int
    before: Rate | None
    after: Rate | None
    difference: float | None
    interval: Interval | None
    won: int
    lost: int
    verdict: Finding
    reason: str


class SuiteOutcome(Record):
    """One suite under the live model (``before``) and the candidate (``after``), on the same ``n`` verified rows.

    Rates and differences are fractions, not percentages; ``interval`` is Newcombe's of the paired difference,
    ``p_value`` the one-sided one of what the suite has to show: a rise (the exact test), or no fall of the margin
    (Tango's score test). ``guarded`` are the passes by answers that aren't vacuous, ``floors`` what answers that read
    nothing pass. Without a verified row the numbers are None.
    """

    name: str
    data: str
    role: Role
    n: int
    before: Rate | None
    after: Rate | None
    difference: float | None
    interval: Interval | None
    p_value: float | None
    guarded: GuardedOutcome | None = None
    floors: Mapping[str, Rate] = {}
    won: int
    lost: int
    verdict: Finding
    reason: str
    audiences: tuple[AudienceOutcome, ...] = ()


class Judgement(Record):
    """The gate's verdict, the sentences that give its reasons, and each suite's own finding."""

    verdict: Verdict
    reasons: tuple[str, ...]
    suites: tuple[SuiteOutcome, ...]
