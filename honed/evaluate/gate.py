"""The gate: whether a candidate takes another model's place, judged from paired comparisons alone.

It is promoted only if every suite passes, so testing each at ``alpha`` needs no correction: the chance that a candidate
which is no better on an ``improve`` suite, or worse by the margin on a ``keep`` suite, is promoted stays at ``alpha``
however many suites there are (R. L. Berger, "Multiparameter hypothesis testing and acceptance sampling", Technometrics
24 (1982)). Harm to one of several groups is a claim about any of them: its p-values are adjusted by Holm's step.

Passes by answers that aren't vacuous have to show the same as all passes, and what must improve has to end above the
floors. Both can only hold a candidate back: they add no claim, so ``alpha`` stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Annotated, Literal

from pydantic import Field

from honed import segments
from honed.config import Config
from honed.errors import DataError
from honed.evaluate import power, stats, words
from honed.evaluate.compare import Comparison, compare_jobs
from honed.evaluate.finding import AudienceOutcome, Finding, GuardedOutcome, Judgement, Role, SuiteOutcome
from honed.evaluate.rates import Rate
from honed.evaluate.segment import Change, Segment
from honed.evaluate.stats import SMALLEST
from honed.jobs.job import Job
from honed.segments import Rule

_USUAL = ("audience",)
_FINE: tuple[Finding, ...] = ("pass", "not seen to fall")
"""What a group may be found to be without holding the candidate back."""


class GateConfig(Config):
    """When a candidate is promoted. Margins are fractions: 0.05 is five points, and takes some hundred rows."""

    alpha: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="an improve suite passes below this one-sided p-value; so do all other tests",
    )
    primary: str | None = Field(
        default=None, description="name of the suite that must improve; the first that is given when not named"
    )
    margin: float = Field(
        default=0.05, gt=0, le=1, description="a guarded suite passes if a fall as large as this is ruled out"
    )
    guarded: Mapping[str, Annotated[float, Field(gt=0, le=1)]] = Field(
        default={},
        description="suites that must have been measured and not fall, by name, each with its margin",
    )
    segments: tuple[str, ...] | None = Field(
        default=None,
        description="tags whose groups are guarded in every suite, or NAME.yaml, a file of segments; one that no row "
        "has holds; when not given: audience, where rows have it",
    )
    rules: tuple[Rule, ...] = Field(default=(), description="the segments of that file, as they were when it was read")
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

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags whose groups are guarded."""
        return _USUAL if self.segments is None else self.segments


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


def ruled(gate: GateConfig) -> GateConfig:
    """Return the settings with the rules of the file of segments that they name. Raises as ``segments.named`` does."""
    tags, rules = segments.named(gate.segments or ())
    return gate.model_copy(update={"segments": tags, "rules": rules}) if rules else gate


def compared(base: Job, candidate: Job, gate: GateConfig) -> Comparison:
    """Pair two evaluations by the groups that are guarded. Raises as ``compare_jobs`` does."""
    return compare_jobs(base, candidate, gate.tags, gate.least_segment_rows, gate.rules)


def measured(name: str, role: Role, comparison: Comparison, gate: GateConfig, margin: float | None = None) -> Measured:
    """Return what a comparison says of a suite; its own margin goes before that of ``guarded``, and that before all.

    Raises ``DataError`` if its rows are no held-out ones: what was trained on shows nothing.
    """
    if comparison.split != "heldout":
        raise DataError(
            f"{comparison.data}: its {comparison.split} rows were answered, and the gate judges held-out rows alone",
            "Evaluate both models with --split heldout, and give those evaluations.",
        )
    if margin is None:
        margin = gate.guarded.get(name, gate.margin)
    tags = gate.tags
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

    ``improve`` passes if McNemar's exact one-sided p-value is below ``alpha``, and more rows pass than by a constant
    answer or by the echoed prompt; ``keep`` if a fall of its margin is ruled out at ``alpha``. Both have to hold of
    guarded passes too. Either is rejected if it, or one of its groups, is shown to be worse and a fall of the
    margin isn't ruled out. Too few rows are never a pass. ``found`` has at least one suite.
    """
    assert found, "there is at least one suite"
    suites = tuple(_suite(one, gate) for one in found)
    absent = sorted(set(gate.guarded) - {suite.name for suite in suites})
    against = [f"Suite {name} is guarded, and nothing of it was measured." for name in absent]
    against += _unmatched(found, gate)
    against += [reason for suite in suites for reason in _against(suite)]
    findings = {suite.verdict for suite in suites} | {one.verdict for suite in suites for one in suite.audiences}
    if "fail" in findings:
        return Judgement(verdict="reject", reasons=tuple(against), suites=suites)
    if against:
        return Judgement(verdict="hold", reasons=tuple(against), suites=suites)
    return Judgement(verdict="promote", reasons=tuple(suite.reason for suite in suites), suites=suites)


def _against(suite: SuiteOutcome) -> list[str]:
    """The suite's own reason to hold, if its rows as a whole give one, then its groups'."""
    groups = [group.reason for group in suite.audiences if group.verdict not in _FINE]
    return [*([] if suite.verdict == "pass" or suite.reason in groups else [suite.reason]), *groups]


def _unmatched(found: Sequence[Measured], gate: GateConfig) -> list[str]:
    """Say which of the tags and segments that were asked for no row has: they would guard nobody, in silence."""
    groups: list[tuple[str, str]] = []
    for one in found:
        groups += [(tag, segment.name) for tag, cells in one.segments.items() for segment in cells]
        groups += [(tag, name) for tag, cells in one.small.items() for name in cells]
    rows = [{tag: name} for tag, name in groups]
    said = segments.unmatched(gate.segments or (), gate.rules, rows)
    return [f"Segments: {what} in any suite, so nobody is guarded by it; see its spelling." for what in said]


def _suite(one: Measured, gate: GateConfig) -> SuiteOutcome:
    whole = one.overall
    groups = _groups(one, gate)
    verdict, reason = _overall(one, gate)
    if verdict == "pass":  # the first group that speaks against it decides
        verdict, reason = next(((a.verdict, a.reason) for a in groups if a.verdict not in _FINE), (verdict, reason))
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
        guarded=_guarded(one.role, whole, one.margin) if whole else None,
        floors=whole.floors if whole else {},
        won=whole.won if whole else 0,
        lost=whole.lost if whole else 0,
        verdict=verdict,
        reason=reason,
        audiences=groups,
    )


def _guarded(role: Role, whole: Segment, margin: float) -> GuardedOutcome:
    return GuardedOutcome(
        before=whole.base_guarded,
        after=whole.tuned_guarded,
        difference=whole.guarded.difference,
        interval=whole.guarded.interval,
        p_value=_asked(role, whole.guarded, margin),
    )


def _asked(role: Role, change: Segment | Change, margin: float) -> float:
    """The one-sided p-value of what a suite has to show."""
    return change.p_better if role == "improve" else _p_fall(change, margin)


def _p_fall(change: Segment | Change, margin: float) -> float:
    return stats.not_worse(change.pairs, margin, change.design_effect)


def _overall(one: Measured, gate: GateConfig) -> tuple[Finding, str]:
    whole = one.overall
    if whole is None:
        return "too few", f"Suite {one.name}: none of its rows has a verifier, so nothing is shown."
    if whole.n < gate.least_rows:
        few = f"{_rows(whole.n)} with a verifier, and at least {gate.least_rows} are asked for"
        return "too few", f"Suite {one.name}: {few}.{_takes(one, whole, gate)}"
    verdict, reason = (_improved if one.role == "improve" else _kept)(one, whole, gate)
    if verdict == "pass" and (against := _hollow(one, whole, gate)):
        return "not shown", against
    return verdict, reason


def _improved(one: Measured, whole: Segment, gate: GateConfig) -> tuple[Finding, str]:
    p_value = whole.p_better
    said = f"{_change(whole)}, {words.chance(p_value)}"
    if p_value < gate.alpha:
        return "pass", f"Suite {one.name} improved: {said}."
    asked = f"a rise with one-sided p < {gate.alpha:g} is asked for"
    if whole.p_worse < gate.alpha:
        return "fail", f"Suite {one.name} fell: {said}; {asked}."
    return "not shown", f"Suite {one.name} is not shown to improve: {said}; {asked}.{_takes(one, whole, gate)}"


def _kept(one: Measured, whole: Segment, gate: GateConfig) -> tuple[Finding, str]:
    p_value, worse = _p_fall(whole, one.margin), whole.p_worse < gate.alpha
    sure = f"a fall of {_margin(one.margin)} or more"
    numbers = f"{words.chance(p_value)}, 95{words.GAP}% interval {words.span(whole.interval, digits=1)}"
    if p_value < gate.alpha:
        kept = "fell by less than its margin" if worse else "did not fall"
        return "pass", f"Suite {one.name} {kept}: {_change(whole)}; {sure} is ruled out ({numbers})."
    which = "fell" if worse else "may have fallen"
    said = f"Suite {one.name} {which}: {_change(whole)}; {sure} can't be ruled out ({numbers})."
    return ("fail", said) if worse else ("not shown", said + _takes(one, whole, gate))


def _hollow(one: Measured, whole: Segment, gate: GateConfig) -> str:
    """Why a suite that passes shows nothing all the same: its passes are vacuous, or answers that read nothing do it.

    "" if neither is so.
    """
    if (p_value := _asked(one.role, whole.guarded, one.margin)) >= gate.alpha:
        said = f"{_guarded_change(whole)}, {words.chance(p_value)}"
        if one.role == "improve":
            asked = f"a rise of these with one-sided p < {gate.alpha:g} is asked for too"
            return f"Suite {one.name} is not shown to improve by answers that aren't vacuous: {said}; {asked}."
        sure = f"a fall of {_margin(one.margin)} or more of these can't be ruled out"
        return f"Suite {one.name} may have fallen by answers that aren't vacuous: {said}; {sure}."
    if one.role == "keep" or not whole.floors:
        return ""
    name, floor = max(whole.floors.items(), key=lambda item: item[1].rate)
    if whole.tuned.rate > floor.rate:
        return ""
    digits = 0 if whole.tuned.passed == floor.passed else 1
    passed = f"{words.percent(whole.tuned.rate, digits)} of {_rows(whole.n)}"
    beaten = f"no more than {words.FLOORS[name]} does ({words.percent(floor.rate, digits)})"
    return f"Suite {one.name} improved, and still passes {passed}, {beaten}: it shows nothing."


def _takes(one: Measured, whole: Segment, gate: GateConfig) -> str:
    """Say how many rows would show what is asked for four times in five, where that is more than there are."""
    differing = (whole.won + whole.lost) / whole.n
    if one.role == "keep":
        needed = power.rows_to_keep(one.margin, differing, tail=gate.alpha)
        what = f"To rule out a fall of {_margin(one.margin)} takes about"
        given = f", if {words.percent(differing)} of them differ and as many are won as lost" if differing else ""
    else:
        rise = max(whole.difference, power.WANTED)
        needed = power.rows(rise, max(differing, 1 / whole.n), tail=gate.alpha)
        what, given = f"To show a rise of {words.points(rise).removeprefix('+')} takes about", ""
    needed = ceil(whole.design_effect * needed)
    return f" {what} {_rows(needed)}{given}." if needed > whole.n else ""


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
    verdict, reason = _group_finding(_named(one, tag, segment.name), segment, harm, gate)
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


def _group_finding(name: str, segment: Segment, harm: float, gate: GateConfig) -> tuple[Finding, str]:
    """Judge a group by all its passes, then by those whose answer isn't vacuous."""
    margin = gate.segment_margin
    allowed = f"a fall of at most {_margin(margin)} is allowed"
    falls = [_p_fall(change, margin) for change in (segment, segment.guarded)]
    if harm < gate.alpha and falls[0] >= gate.alpha:
        return "fail", f"{name} fell: {_change(segment)}, {words.chance(harm)}; {allowed}."
    readings = [
        (segment.difference, falls[0], _change(segment), ""),
        (segment.guarded.difference, falls[1], _guarded_change(segment), " by answers that aren't vacuous"),
    ]
    for difference, fall, change, how in readings:
        if difference < -margin:
            return "not shown", f"{name} may have fallen{how}: {change}; {allowed}."
        if gate.segment_rule == "shown" and fall >= gate.alpha:
            sure = f"a fall of {_margin(margin)} or more{how} can't be ruled out ({words.chance(fall)})"
            return "not shown", f"{name}: {change}; {sure}."
    return "pass" if max(falls) < gate.alpha else "not seen to fall", f"{name}: {_change(segment)}."


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
    return _said(segment.base, segment.tuned, segment)


def _guarded_change(segment: Segment) -> str:
    return _said(segment.base_guarded, segment.tuned_guarded, segment.guarded)


def _said(base: Rate, tuned: Rate, change: Segment | Change) -> str:
    before, after, points = (round(100 * part) for part in (base.rate, tuned.rate, change.difference))
    digits = 0 if after - before == points else 1
    return (
        f"from {words.percent(base.rate, digits)} to {words.percent(tuned.rate, digits)} "
        f"of {_rows(base.n)} ({words.points(change.difference, digits)}, {change.won} won, {change.lost} lost)"
    )


def _margin(margin: float) -> str:
    return f"{100 * margin:g}{words.GAP}points"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
