"""The gate: whether a candidate takes the live model's place, judged from paired comparisons alone.

Every suite must pass, so testing each at ``alpha`` needs no correction: the chance that a candidate which is no better
on an ``improve`` suite passes it stays at ``alpha``, however many suites there are (R. L. Berger, "Multiparameter
hypothesis testing and acceptance sampling", Technometrics 24 (1982)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pydantic import Field, model_validator

from honed.config import Config
from honed.evaluate import words
from honed.evaluate.compare import Comparison, Segment
from honed.rounds.outcome import AudienceOutcome, Decision, Finding, Role, SuiteOutcome


class GateConfig(Config):
    """When a candidate is promoted. Margins are fractions: 0.05 is five points."""

    alpha: float = Field(default=0.05, gt=0, lt=1, description="an improve suite passes below this exact p-value")
    margin: float = Field(
        default=0.05, gt=0, le=1, description="a keep suite passes if a fall as large as this can be ruled out"
    )
    audience_margin: float = Field(
        default=0.1, gt=0, le=1, description="no audience of any suite may be seen to fall by more than this"
    )
    least_rows: int = Field(default=50, ge=1, description="a suite with fewer verified rows shows nothing: hold")
    least_audience_rows: int = Field(
        default=5, ge=1, description="an audience with fewer verified rows shows nothing: hold"
    )


class SuiteConfig(Config):
    """Held-out rows on which the live model and the candidate are compared."""

    data: str = Field(description="dataset whose held-out rows are answered: name or name@vN")
    rows: int | None = Field(default=None, ge=1, description="how many of them, chosen by hash; all when not given")
    role: Role = Field(default="keep", description="improve: must be shown to rise; keep: must be shown not to fall")
    margin: float | None = Field(
        default=None, gt=0, le=1, description="the gate's margin for this keep suite; the gate's own when not given"
    )

    @model_validator(mode="after")
    def _margin_is_read(self) -> Self:
        if self.role == "improve" and self.margin is not None:
            raise ValueError("an improve suite has no margin: it must rise")
        return self


@dataclass(frozen=True)
class Measured:
    """What was measured on one suite. ``overall`` is None when no row of it has a verifier."""

    name: str
    data: str
    role: Role
    margin: float
    overall: Segment | None
    audiences: tuple[Segment, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """The gate's decision, the sentences that give its reasons, and each suite's own finding."""

    verdict: Decision
    reasons: tuple[str, ...]
    suites: tuple[SuiteOutcome, ...]


def measured(name: str, suite: SuiteConfig, comparison: Comparison, gate: GateConfig) -> Measured:
    """Return what a comparison says of a suite; its own margin goes before the gate's."""
    margin = gate.margin if suite.margin is None else suite.margin
    return Measured(name, suite.data, suite.role, margin, comparison.overall, comparison.segments["audience"])


def judge(found: Sequence[Measured], gate: GateConfig) -> Judgement:
    """Promote if every suite passes, else hold; pure.

    ``improve`` passes if the difference is positive and the exact two-sided p-value is below ``alpha``; ``keep`` if
    the lower end of Newcombe's interval of the difference is above minus its margin. Either fails if an audience is
    seen to fall by more than ``audience_margin``. Too few rows are never a pass. ``found`` has at least one suite.
    """
    assert found, "RoundConfig asks for at least one suite"
    suites = tuple(_suite(one, gate) for one in found)
    against = tuple(reason for suite in suites for reason in _against(suite))
    if against:
        return Judgement("held", against, suites)
    return Judgement("promoted", tuple(suite.reason for suite in suites), suites)


def _against(suite: SuiteOutcome) -> list[str]:
    """The suite's own reason to hold, if its rows as a whole give one, then its audiences'."""
    audiences = [audience.reason for audience in suite.audiences if audience.verdict != "pass"]
    return [*([] if suite.verdict == "pass" or suite.reason in audiences else [suite.reason]), *audiences]


def _suite(one: Measured, gate: GateConfig) -> SuiteOutcome:
    whole = one.overall
    audiences = tuple(_audience(one.name, segment, gate) for segment in one.audiences)
    verdict, reason = _overall(one, gate)
    if verdict == "pass":  # the first audience that speaks against it decides
        verdict, reason = next(((a.verdict, a.reason) for a in audiences if a.verdict != "pass"), (verdict, reason))
    return SuiteOutcome(
        name=one.name,
        data=one.data,
        role=one.role,
        n=whole.n if whole else 0,
        before=whole.base if whole else None,
        after=whole.tuned if whole else None,
        difference=whole.difference if whole else None,
        interval=whole.interval if whole else None,
        p_value=whole.p_value if whole else None,
        won=whole.won if whole else 0,
        lost=whole.lost if whole else 0,
        verdict=verdict,
        reason=reason,
        audiences=audiences,
    )


def _overall(one: Measured, gate: GateConfig) -> tuple[Finding, str]:
    whole = one.overall
    if whole is None:
        return "too few", f"Suite {one.name}: none of its rows has a verifier, so nothing is shown."
    if whole.n < gate.least_rows:
        return (
            "too few",
            f"Suite {one.name}: {_rows(whole.n)} with a verifier, and at least {gate.least_rows} are asked for.",
        )
    said = f"{_change(whole)}, {words.chance(whole.p_value)}"
    if one.role == "improve":
        if whole.difference > 0 and whole.p_value < gate.alpha:
            return "pass", f"Suite {one.name} improved: {said}."
        which = "fell" if whole.difference < 0 else "is not shown to improve"
        return "fail", f"Suite {one.name} {which}: {said}; a rise with p < {gate.alpha:g} is asked for."
    sure = f"a fall of {_margin(one.margin)} or more"
    interval = f"95{words.GAP}% interval of the difference {words.span(whole.interval, digits=1)}"
    if whole.interval.low > -one.margin:
        kept = "fell by less than its margin" if whole.difference < 0 and whole.p_value < gate.alpha else "did not fall"
        return "pass", f"Suite {one.name} {kept}: {_change(whole)}; {sure} is ruled out ({interval})."
    which = "fell" if whole.difference < 0 and whole.p_value < gate.alpha else "may have fallen"
    return "fail", f"Suite {one.name} {which}: {_change(whole)}; {sure} can't be ruled out ({interval})."


def _audience(suite: str, segment: Segment, gate: GateConfig) -> AudienceOutcome:
    name = f"Suite {suite}, audience {words.plain(segment.name)}"
    verdict: Finding = "pass"
    reason = f"{name}: {_change(segment)}."
    if segment.n < gate.least_audience_rows:
        verdict = "too few"
        reason = f"{name}: {_rows(segment.n)} with a verifier, and at least {gate.least_audience_rows} are asked for."
    elif segment.difference < -gate.audience_margin:
        verdict = "fail"
        reason = f"{name} fell: {_change(segment)}; a fall of at most {_margin(gate.audience_margin)} is allowed."
    return AudienceOutcome(
        name=segment.name,
        n=segment.n,
        before=segment.base,
        after=segment.tuned,
        difference=segment.difference,
        interval=segment.interval,
        won=segment.won,
        lost=segment.lost,
        verdict=verdict,
        reason=reason,
    )


def _change(segment: Segment) -> str:
    """``from 71 % to 80 % of 140 rows (+9 points, 15 won, 2 lost)``; the parts add up as they are said."""
    parts = (segment.base.rate, segment.tuned.rate, segment.difference)
    before, after, change = (round(100 * part) for part in parts)
    digits = 0 if after - before == change else 1
    return (
        f"from {words.percent(segment.base.rate, digits)} to {words.percent(segment.tuned.rate, digits)} "
        f"of {_rows(segment.n)} ({words.points(segment.difference, digits)}, {segment.won} won, {segment.lost} lost)"
    )


def _margin(margin: float) -> str:
    return f"{100 * margin:g}{words.GAP}points"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
