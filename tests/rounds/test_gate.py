"""The gate as a pure function: what it never lets through, and what it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from honed.evaluate import outcome, stats
from honed.evaluate.compare import Segment
from honed.evaluate.stats import Interval, Pairs
from honed.evaluate.words import GAP
from honed.rounds.gate import GateConfig, Judgement, Measured, SuiteConfig, judge, measured
from honed.rounds.outcome import Role


def segment(pairs: Pairs, name: str = "all") -> Segment:
    """A group of rows with these counts."""
    before = [True] * pairs.first + [False] * (pairs.n - pairs.first)
    after = [True] * pairs.second + [False] * (pairs.n - pairs.second)
    p_value = stats.mcnemar(pairs.won, pairs.lost)
    return Segment(
        name=name, n=pairs.n, base=outcome.rate(before), tuned=outcome.rate(after), floors={}, both=pairs.both,
        won=pairs.won, lost=pairs.lost, neither=pairs.neither, difference=pairs.difference,
        interval=stats.newcombe(pairs), bootstrap=Interval(0, 0), p_value=p_value, p_adjusted=p_value,
        verdict="not shown",
    )  # fmt: skip


def suite(
    pairs: Pairs, role: Role = "keep", *, audiences: dict[str, Pairs] | None = None, margin: float = 0.05
) -> Measured:
    """A suite with these counts; its audiences are given on their own."""
    groups = tuple(segment(counts, name) for name, counts in (audiences or {}).items())
    return Measured("helpdesk", "helpdesk@v1", role, margin, segment(pairs), groups)


def said(made: Judgement) -> str:
    return " ".join(made.reasons).replace(GAP, " ")


COUNT = st.integers(0, 120)
PAIRS = st.builds(Pairs, COUNT, COUNT, COUNT, COUNT).filter(lambda pairs: pairs.n > 0)
ROLE: st.SearchStrategy[Role] = st.sampled_from(["improve", "keep"])
SUITE = st.builds(
    suite,
    PAIRS,
    ROLE,
    audiences=st.dictionaries(st.sampled_from(["expert", "novice"]), PAIRS),
    margin=st.floats(0.01, 1),
)
GATE = st.builds(
    GateConfig,
    alpha=st.floats(0.001, 0.2),
    audience_margin=st.floats(0.01, 1),
    least_rows=st.integers(1, 200),
    least_audience_rows=st.integers(1, 50),
)


@given(st.lists(SUITE, min_size=1, max_size=3), GATE)
def test_whatever_is_promoted_has_enough_rows_no_fallen_audience_and_each_suite_shown(
    found: list[Measured], gate: GateConfig
) -> None:
    made = judge(found, gate)
    allowed = []
    for one in found:
        assert one.overall
        shown = (
            one.overall.difference > 0 and one.overall.p_value < gate.alpha
            if one.role == "improve"
            else one.overall.interval.low > -one.margin
        )
        enough = one.overall.n >= gate.least_rows and all(a.n >= gate.least_audience_rows for a in one.audiences)
        allowed.append(shown and enough and all(a.difference >= -gate.audience_margin for a in one.audiences))
    assert (made.verdict == "promoted") == all(allowed)
    assert [one.verdict == "pass" for one in made.suites] == allowed
    assert made.reasons and all("helpdesk" in reason and reason.endswith(".") for reason in made.reasons)


@given(st.lists(SUITE, min_size=2, max_size=3), GATE)
def test_the_order_of_the_suites_plays_no_part(found: list[Measured], gate: GateConfig) -> None:
    one, other = judge(found, gate), judge(found[::-1], gate)
    assert (one.verdict, sorted(one.reasons)) == (other.verdict, sorted(other.reasons))


@given(PAIRS, ROLE)
def test_too_few_rows_never_promote(pairs: Pairs, role: Role) -> None:
    made = judge([suite(pairs, role, margin=1.0)], GateConfig(least_rows=pairs.n + 1))
    assert made.verdict == "held" and made.suites[0].verdict == "too few"
    assert f"at least {pairs.n + 1} are asked for" in said(made)


@given(PAIRS, st.floats(0.01, 0.9))
def test_a_fall_of_an_audience_beyond_the_margin_holds_whatever_the_whole_says(pairs: Pairs, margin: float) -> None:
    gate = GateConfig(audience_margin=margin, least_rows=1, least_audience_rows=1)
    made = judge([suite(Pairs(0, 100, 0, 0), "improve", audiences={"novice": pairs})], gate)
    assert (made.verdict == "held") == (pairs.difference < -margin)
    if made.verdict == "held":
        assert "audience novice fell" in said(made)


@given(st.integers(0, 5), st.integers(0, 200))
def test_fewer_than_six_rows_that_differ_can_never_show_an_improvement(won: int, neither: int) -> None:
    made = judge([suite(Pairs(1, won, 0, neither), "improve")], GateConfig(least_rows=1))
    assert made.verdict == "held"


def test_a_rise_is_said_with_its_numbers() -> None:
    made = judge([suite(Pairs(80, 30, 4, 86), "improve")], GateConfig())
    assert made.verdict == "promoted"
    assert (
        said(made) == "Suite helpdesk improved: from 42 % to 55 % of 200 rows (+13 points, 30 won, 4 lost), p < 0.001."
    )


def test_a_rise_that_chance_may_bring_is_held_and_names_what_is_asked_for() -> None:
    made = judge([suite(Pairs(80, 10, 4, 106), "improve")], GateConfig())
    assert made.verdict == "held"
    assert said(made) == (
        "Suite helpdesk is not shown to improve: from 42 % to 45 % of 200 rows (+3 points, 10 won, 4 lost), p = 0.18; "
        "a rise with p < 0.05 is asked for."
    )


def test_a_suite_that_only_had_to_keep_its_level_is_promoted_if_the_margin_is_ruled_out() -> None:
    made = judge([suite(Pairs(300, 6, 6, 88))], GateConfig())
    assert made.verdict == "promoted"
    assert "Suite helpdesk did not fall: from 76 % to 76 % of 400 rows (0 points, 6 won, 6 lost); " in said(made)
    assert "a fall of 5 points or more is ruled out (95 % interval of the difference" in said(made)


def test_a_fall_that_can_not_be_ruled_out_holds_though_none_is_shown() -> None:
    made = judge([suite(Pairs(60, 6, 6, 28))], GateConfig())
    assert made.verdict == "held"
    assert "may have fallen" in said(made) and "a fall of 5 points or more can't be ruled out" in said(made)


def test_a_fall_is_called_one() -> None:
    made = judge([suite(Pairs(60, 0, 30, 10)), suite(Pairs(0, 0, 30, 70), "improve")], GateConfig())
    assert [one.reason.partition(":")[0] for one in made.suites] == ["Suite helpdesk fell"] * 2
    assert len(made.reasons) == 2


def test_an_audience_with_too_few_rows_is_said_not_passed() -> None:
    made = judge([suite(Pairs(0, 100, 0, 0), "improve", audiences={"new_hire": Pairs(0, 3, 0, 0)})], GateConfig())
    assert said(made) == "Suite helpdesk, audience new hire: 3 rows with a verifier, and at least 5 are asked for."
    assert [audience.verdict for audience in made.suites[0].audiences] == ["too few"]


def test_rows_without_a_verifier_show_nothing() -> None:
    made = judge([Measured("chat", "chat@v1", "keep", 0.05, None)], GateConfig())
    assert said(made) == "Suite chat: none of its rows has a verifier, so nothing is shown."
    assert (made.suites[0].n, made.suites[0].before, made.suites[0].verdict) == (0, None, "too few")


def test_a_suites_own_margin_goes_before_the_gates() -> None:
    class Compared:
        overall = segment(Pairs(60, 6, 6, 28))
        segments = {"audience": ()}

    wide = measured("chat", SuiteConfig(data="chat", margin=0.2), Compared(), GateConfig())  # type: ignore[arg-type]
    usual = measured("chat", SuiteConfig(data="chat"), Compared(), GateConfig())  # type: ignore[arg-type]
    assert [judge([one], GateConfig()).verdict for one in (wide, usual)] == ["promoted", "held"]


def test_a_margin_of_an_improve_suite_is_refused_for_nothing_would_read_it() -> None:
    with pytest.raises(ValueError, match="an improve suite has no margin"):
        SuiteConfig(data="chat", role="improve", margin=0.1)
