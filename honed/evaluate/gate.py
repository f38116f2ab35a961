"""The gate: whether a candidate takes another model's place, judged from paired comparisons alone.

It is promoted only if every suite passes, so testing each at ``alpha`` needs no correction: the chance that a candidate
which is no better on an ``improve`` suite, or worse by the margin on a ``keep`` suite, is promoted stays at ``alpha``
however many suites there are (R. L. Berger, "Multiparameter hypothesis testing and acceptance sampling", Technometrics
24 (1982)). Harm to one of several groups is a claim about any of them: its p-values are adjusted by Holm's step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from honed.config import Config
from honed.evaluate import stats, words
from honed.evaluate.compare import Comparison
from honed.evaluate.finding import AudienceOutcome, Finding, Judgement, Role, SuiteOutcome
from honed.evaluate.segment import Segment
from honed.evaluate.stats import SMALLEST


class GateConfig(Config):
    """When a candidate is promoted. Margins are fractions: 0.05 is five points."""

    alpha: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="an improve suite passes below this one-sided p-value; so do all other tests",
    )
    margin: float = Field(
        default=0.05, gt=0, le=1, description="a guarded suite passes if a fall as large as this is ruled out"
    )
    guarded: Mapping[str, Annotated[float, Field(gt=0, le=1)]] = Field(
        default={},
        description="suites that must have been measured and not fall, by name, each with its margin",
    )
    segments: tuple[str, ...] = Field(default=("audience",), description="tags whose groups are guarded in every suite")
    segment_margin: float = Field(
        default=0.1, gt=0, le=1, description="no group of any suite may fall by more than this; see segment_rule"
    )
    segment_rule: Literal["seen", "shown"] = Field(
        default="seen",
        description="seen: no group may be shown worse, or be seen to fall beyond its margin; shown: such a fall must "
        "also be ruled out for each group, which takes some hundred rows a group",
    )
    least_rows: int = Field(default=50, ge=1, description="a suite with fewer verified rows shows nothing: hold")
    least_segment_rows: int = Field(
        default=SMALLEST, ge=1, description="a group with fewer verified rows shows nothing: hold"
    )


@dataclass(frozen=True)
class Measured:
    """What was measured on one suite. ``overall`` is None when no row of it has a verifier.

    ``segments`` are its groups by tag, ``small`` the sizes of those that are too small to say anything.
    """

    name: str
    data: str
    role: Role
    margin: float
    overall: Segment | None
    segments: Mapping[str, Sequence[Segment]] = field(default_factory=dict)
    small: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def measured(name: str, role: Role, comparison: Comparison, gate: GateConfig, margin: float | None = None) -> Measured:
    """Return what a comparison says of a suite; its own margin goes before that of ``guarded``, and that before all."""
    if margin is None:
        margin = gate.guarded.get(name, gate.margin)
    tags = gate.segments
    return Measured(
        name,
        comparison.data,
        role,
        margin,
        comparison.overall,
        {tag: comparison.segments[tag] for tag in tags},
        {tag: comparison.small[tag] for tag in tags},
    )


def judge(found: Sequence[Measured], gate: GateConfig) -> Judgement:
    """Promote if every suite passes, reject if one is shown to be worse, else hold; pure.

    ``improve`` passes if McNemar's exact one-sided p-value is below ``alpha``; ``keep`` if a fall of its margin is
    ruled out at ``alpha``. Either is rejected if it, or one of its groups, is shown to be worse and a fall of the
    margin isn't ruled out. Too few rows are never a pass. ``found`` has at least one suite.
    """
    assert found, "there is at least one suite"
    suites = tuple(_suite(one, gate) for one in found)
    absent = sorted(set(gate.guarded) - {suite.name for suite in suites})
    against = [f"Suite {name} is guarded, and nothing of it was measured." for name in absent]
    against += [reason for suite in suites for reason in _against(suite)]
    findings = {suite.verdict for suite in suites} | {one.verdict for suite in suites for one in suite.audiences}
    if "fail" in findings:
        return Judgement(verdict="reject", reasons=tuple(against), suites=suites)
    if against:
        return Judgement(verdict="hold", reasons=tuple(against), suites=suites)
    return Judgement(verdict="promote", reasons=tuple(suite.reason for suite in suites), suites=suites)


def _against(suite: SuiteOutcome) -> list[str]:
    """The suite's own reason to hold, if its rows as a whole give one, then its groups'."""
    groups = [group.reason for group in suite.audiences if group.verdict != "pass"]
    return [*([] if suite.verdict == "pass" or suite.reason in groups else [suite.reason]), *groups]


def _suite(one: Measured, gate: GateConfig) -> SuiteOutcome:
    whole = one.overall
    groups = _groups(one, gate)
    verdict, reason = _overall(one, gate)
    if verdict == "pass":  # the first group that speaks against it decides
        verdict, reason = next(((a.verdict, a.reason) for a in groups if a.verdict != "pass"), (verdict, reason))
    return SuiteOutcome(
        name=one.name,
        data=one.data,
        role=one.role,
        n=whole.n if whole else 0,
        before=whole.base if whole else None,
        after=whole.tuned if whole else None,
        difference=whole.difference if whole else None,
        interval=whole.interval if whole else None,
        p_value=_asked(one.role, whole, one.margin) if whole else None,
        won=whole.won if whole else 0,
        lost=whole.lost if whole else 0,
        verdict=verdict,
        reason=reason,
        audiences=groups,
    )


def _asked(role: Role, whole: Segment, margin: float) -> float:
    """The one-sided p-value of what a suite has to show."""
    return whole.p_better if role == "improve" else _p_fall(whole, margin)


def _p_fall(segment: Segment, margin: float) -> float:
    return stats.not_worse(segment.pairs, margin, segment.design_effect)


def _overall(one: Measured, gate: GateConfig) -> tuple[Finding, str]:
    whole = one.overall
    if whole is None:
        return "too few", f"Suite {one.name}: none of its rows has a verifier, so nothing is shown."
    if whole.n < gate.least_rows:
        return (
            "too few",
            f"Suite {one.name}: {_rows(whole.n)} with a verifier, and at least {gate.least_rows} are asked for.",
        )
    worse = whole.p_worse < gate.alpha
    p_value = _asked(one.role, whole, one.margin)
    if one.role == "improve":
        said = f"{_change(whole)}, {words.chance(p_value)}"
        if p_value < gate.alpha:
            return "pass", f"Suite {one.name} improved: {said}."
        which = "fell" if worse else "is not shown to improve"
        asked = f"a rise with one-sided p < {gate.alpha:g} is asked for"
        return "fail" if worse else "not shown", f"Suite {one.name} {which}: {said}; {asked}."
    sure = f"a fall of {_margin(one.margin)} or more"
    numbers = f"{words.chance(p_value)}, 95{words.GAP}% interval {words.span(whole.interval, digits=1)}"
    if p_value < gate.alpha:
        kept = "fell by less than its margin" if worse else "did not fall"
        return "pass", f"Suite {one.name} {kept}: {_change(whole)}; {sure} is ruled out ({numbers})."
    which = "fell" if worse else "may have fallen"
    said = f"Suite {one.name} {which}: {_change(whole)}; {sure} can't be ruled out ({numbers})."
    return "fail" if worse else "not shown", said


def _groups(one: Measured, gate: GateConfig) -> tuple[AudienceOutcome, ...]:
    """Each group's finding; harm is claimed in the knowledge of how many groups the suite has."""
    named = [(tag, segment) for tag, segments in one.segments.items() for segment in segments]
    large = [(tag, segment) for tag, segment in named if segment.n >= gate.least_segment_rows]
    sizes = [(tag, segment.name, segment.n) for tag, segment in named if segment.n < gate.least_segment_rows]
    sizes += [(tag, name, n) for tag, cells in one.small.items() for name, n in cells.items()]
    harms = stats.holm([segment.p_worse for _, segment in large])
    found = [_group(one, tag, segment, harm, gate) for (tag, segment), harm in zip(large, harms, strict=True)]
    return (*found, *(_too_few(one, *size, gate) for size in sizes))


def _group(one: Measured, tag: str, segment: Segment, harm: float, gate: GateConfig) -> AudienceOutcome:
    name = _named(one, tag, segment.name)
    allowed = f"a fall of at most {_margin(gate.segment_margin)} is allowed"
    ruled_out = _p_fall(segment, gate.segment_margin)
    verdict: Finding = "pass"
    reason = f"{name}: {_change(segment)}."
    if harm < gate.alpha and ruled_out >= gate.alpha:
        verdict, reason = "fail", f"{name} fell: {_change(segment)}, {words.chance(harm)}; {allowed}."
    elif segment.difference < -gate.segment_margin:
        verdict, reason = "not shown", f"{name} may have fallen: {_change(segment)}; {allowed}."
    elif gate.segment_rule == "shown" and ruled_out >= gate.alpha:
        sure = f"a fall of {_margin(gate.segment_margin)} or more can't be ruled out ({words.chance(ruled_out)})"
        verdict, reason = "not shown", f"{name}: {_change(segment)}; {sure}."
    return AudienceOutcome(
        name=segment.name,
        tag=tag,
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


def _too_few(one: Measured, tag: str, name: str, n: int, gate: GateConfig) -> AudienceOutcome:
    least = f"at least {gate.least_segment_rows} are asked for"
    return AudienceOutcome(
        name=name,
        tag=tag,
        n=n,
        before=None,
        after=None,
        difference=None,
        interval=None,
        won=0,
        lost=0,
        verdict="too few",
        reason=f"{_named(one, tag, name)}: {_rows(n)} with a verifier, and {least}.",
    )


def _named(one: Measured, tag: str, name: str) -> str:
    return f"Suite {one.name}, {words.plain(tag)} {words.plain(name)}"


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
