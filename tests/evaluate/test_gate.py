"""The gate as a pure function: what it never lets through, and what it says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honed.errors import DataError
from honed.evaluate.finding import Judgement, Role
from honed.evaluate.gate import GateConfig, Measured, judge, measured
from honed.evaluate.segment import Judged, Segment
from honed.evaluate.segment import segment as of_rows
from honed.evaluate.stats import Pairs, holm, mcnemar, not_worse
from honed.evaluate.words import GAP
from honed.segments import Rule


def segment(pairs: Pairs, name: str = "all") -> Segment:
    """A group of rows with these counts."""
    fates = [(True, True), (False, True), (True, False), (False, False)]
    verdicts = [fate for fate, count in zip(fates, pairs, strict=True) for _ in range(count)]
    floors = {"constant": False, "echo": False}
    return of_rows(name, [Judged(*both, *both, floors, str(place)) for place, both in enumerate(verdicts)])


def hollow(pairs: Pairs, vacuous: int, constant: int = 0, name: str = "all") -> Segment:
    """A group with these counts, of whose won rows (or, without any, of those that both pass) some are vacuous passes.

    A constant answer passes the first ``constant`` rows.
    """
    fates = [(True, True), (False, True), (True, False), (False, False)]
    verdicts = [fate for fate, count in zip(fates, pairs, strict=True) for _ in range(count)]
    won = [place for place, both in enumerate(verdicts) if both == ((False, True) if pairs.won else (True, True))]
    empty = set(won[:vacuous])
    rows = [
        Judged(
            before,
            after,
            before,
            after and place not in empty,
            {"constant": place < constant, "echo": False},
            str(place),
        )
        for place, (before, after) in enumerate(verdicts)
    ]
    return of_rows(name, rows)


def suite(
    pairs: Pairs,
    role: Role = "keep",
    *,
    audiences: dict[str, Pairs] | None = None,
    margin: float = 0.05,
    small: dict[str, int] | None = None,
) -> Measured:
    """A suite with these counts; its audiences are given on their own."""
    groups = tuple(segment(counts, name) for name, counts in (audiences or {}).items())
    return Measured(
        "helpdesk", "helpdesk@v1", role, margin, segment(pairs), {"audience": groups}, {"audience": small or {}}
    )


def whole(segment: Segment, role: Role = "improve") -> Measured:
    """A suite without groups."""
    return Measured("ifbench", "suite ifbench", role, 0.05, segment)


def said(made: Judgement) -> str:
    return " ".join(made.reasons).replace(GAP, " ")


COUNT = st.integers(0, 60)
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
    segment_margin=st.floats(0.01, 1),
    least_rows=st.integers(1, 200),
    least_segment_rows=st.integers(1, 50),
    segment_rule=st.sampled_from(["seen", "shown"]),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(SUITE, min_size=1, max_size=3), GATE)
def test_whatever_is_promoted_has_enough_rows_no_fallen_audience_and_each_suite_shown(
    found: list[Measured], gate: GateConfig
) -> None:
    made = judge(found, gate)
    allowed = []
    for one in found:
        assert one.overall
        groups = one.segments["audience"]
        shown = (
            mcnemar(one.overall.won, one.overall.lost, "greater") < gate.alpha
            if one.role == "improve"
            else not_worse(one.overall.pairs, one.margin) < gate.alpha
        )
        enough = one.overall.n >= gate.least_rows and all(a.n >= gate.least_segment_rows for a in groups)
        ruled_out = [not_worse(a.pairs, gate.segment_margin) < gate.alpha for a in groups]
        harmed = [p < gate.alpha for p in holm([mcnemar(a.won, a.lost, "less") for a in groups])]
        fell = any(
            a.difference < -gate.segment_margin or (harm and not out)
            for a, harm, out in zip(groups, harmed, ruled_out, strict=True)
        )
        sure = gate.segment_rule == "seen" or all(ruled_out)
        allowed.append(shown and enough and not fell and sure)
    assert (made.verdict == "promote") == all(allowed)
    assert [one.verdict == "pass" for one in made.suites] == allowed
    assert made.reasons and all("helpdesk" in reason and reason.endswith(".") for reason in made.reasons)


@settings(deadline=None, max_examples=40)
@given(st.lists(SUITE, min_size=2, max_size=3), GATE)
def test_the_order_of_the_suites_plays_no_part(found: list[Measured], gate: GateConfig) -> None:
    one, other = judge(found, gate), judge(found[::-1], gate)
    assert (one.verdict, sorted(one.reasons)) == (other.verdict, sorted(other.reasons))


@settings(deadline=None)
@given(PAIRS, ROLE)
def test_too_few_rows_never_promote(pairs: Pairs, role: Role) -> None:
    made = judge([suite(pairs, role, margin=1.0)], GateConfig(least_rows=pairs.n + 1))
    assert made.verdict != "promote" and made.suites[0].verdict == "too few"
    assert f"at least {pairs.n + 1} are asked for" in said(made)


@settings(deadline=None)
@given(PAIRS, st.floats(0.01, 0.9))
def test_a_fall_of_an_audience_beyond_the_margin_holds_whatever_the_whole_says(pairs: Pairs, margin: float) -> None:
    gate = GateConfig(segment_margin=margin, least_rows=1, least_segment_rows=1)
    made = judge([suite(Pairs(0, 100, 0, 0), "improve", audiences={"novice": pairs})], gate)
    harm = mcnemar(pairs.won, pairs.lost, "less") < gate.alpha and not_worse(pairs, margin) >= gate.alpha
    assert (made.verdict != "promote") == (pairs.difference < -margin or harm)
    assert (made.verdict == "reject") == harm
    if made.verdict != "promote":
        assert ("audience novice fell" if harm else "audience novice may have fallen") in said(made)


@settings(deadline=None)
@given(st.integers(0, 4), st.integers(0, 200))
def test_fewer_than_five_rows_that_differ_can_never_show_an_improvement(won: int, neither: int) -> None:
    made = judge([suite(Pairs(1, won, 0, neither), "improve")], GateConfig(least_rows=1))
    assert made.verdict != "promote"


def test_a_rise_is_said_with_its_numbers() -> None:
    made = judge([suite(Pairs(80, 30, 4, 86), "improve")], GateConfig())
    assert made.verdict == "promote"
    assert (
        said(made) == "Suite helpdesk improved: from 42 % to 55 % of 200 rows (+13 points, 30 won, 4 lost), p < 0.001."
    )


def test_a_rise_that_chance_may_bring_is_held_and_names_what_is_asked_for() -> None:
    made = judge([suite(Pairs(80, 10, 4, 106), "improve")], GateConfig())
    assert made.verdict != "promote"
    assert said(made) == (
        "Suite helpdesk is not shown to improve: from 42 % to 45 % of 200 rows (+3 points, 10 won, 4 lost), p = 0.090; "
        "a rise with one-sided p < 0.05 is asked for. To show a rise of 3 points takes about 517 rows."
    )


def test_a_gain_of_vacuous_answers_alone_is_not_promoted() -> None:
    # 10 % to 44 %, all of it by "ok": the constant answer passes as many rows, and no guarded pass is won.
    found = whole(hollow(Pairs(30, 102, 0, 168), vacuous=102, constant=132))
    made = judge([found], GateConfig())
    assert made.verdict == "hold"
    assert said(made) == (
        "Suite ifbench is not shown to improve by answers that aren't vacuous: from 10 % to 10 % of 300 rows "
        "(0 points, 0 won, 0 lost), p = 1.00; a rise of these with one-sided p < 0.05 is asked for too."
    )
    (suite,) = made.suites
    assert suite.difference == pytest.approx(0.34) and suite.floors["constant"].rate == pytest.approx(0.44)
    assert suite.guarded is not None and (suite.guarded.difference, suite.guarded.p_value) == (0, 1)


def test_a_gain_that_ends_no_higher_than_a_constant_answer_is_not_promoted() -> None:
    found = whole(hollow(Pairs(30, 60, 0, 210), vacuous=0, constant=90))
    made = judge([found], GateConfig())
    assert made.verdict == "hold"
    assert said(made) == (
        "Suite ifbench improved, and still passes 30 % of 300 rows, no more than one constant answer does (30 %): it "
        "shows nothing."
    )
    above = whole(hollow(Pairs(30, 60, 0, 210), vacuous=0, constant=89))
    assert judge([above], GateConfig()).verdict == "promote"


def test_a_guarded_suite_that_keeps_its_passes_by_vacuous_answers_alone_holds() -> None:
    made = judge([whole(hollow(Pairs(300, 0, 0, 100), vacuous=60), "keep")], GateConfig())
    assert made.verdict == "hold"
    assert "may have fallen by answers that aren't vacuous: from 75 % to 60 % of 400 rows" in said(made)
    assert judge([whole(hollow(Pairs(300, 0, 0, 100), vacuous=0), "keep")], GateConfig()).verdict == "promote"


def test_a_group_that_keeps_its_passes_by_vacuous_answers_alone_holds() -> None:
    group = hollow(Pairs(40, 0, 0, 10), vacuous=20, name="novice")
    found = Measured("chat", "chat@v1", "improve", 0.05, segment(Pairs(0, 99, 0, 0)), {"audience": (group,)})
    made = judge([found], GateConfig())
    assert made.verdict == "hold"
    assert "audience novice may have fallen by answers that aren't vacuous: from 80 % to 40 %" in said(made)


def test_a_group_of_which_no_fall_is_ruled_out_is_not_called_a_pass() -> None:
    groups = {"novice": Pairs(6, 0, 1, 3), "expert": Pairs(60, 0, 0, 40)}
    made = judge([suite(Pairs(80, 30, 4, 86), "improve", audiences=groups)], GateConfig())
    assert made.verdict == "promote"
    assert {one.name: one.verdict for one in made.suites[0].audiences} == {
        "novice": "not seen to fall",
        "expert": "pass",
    }


def test_a_guarded_tag_that_no_row_of_any_suite_has_holds_and_is_named() -> None:
    gate = GateConfig(segments=("audience", "audiense"))
    rise = suite(Pairs(80, 30, 4, 86), "improve", audiences={"novice": Pairs(20, 0, 0, 20)})
    made = judge([rise], gate)
    assert made.verdict == "hold"
    assert said(made) == (
        "Segments: no row has the tag 'audiense' in any suite, so nobody is guarded by it; see its spelling."
    )
    assert judge([rise], GateConfig(segments=("audience",))).verdict == "promote"
    bare = suite(Pairs(80, 30, 4, 86), "improve")
    assert judge([bare, rise], GateConfig(segments=("audience",))).verdict == "promote"  # one of both has them
    assert judge([bare], GateConfig()).verdict == "promote"  # audiences are guarded where rows have them
    assert judge([bare], GateConfig(segments=("audience",))).verdict == "hold"


def test_a_segment_that_no_row_is_of_holds_and_is_named() -> None:
    rules = (Rule(name="young", where={"age": ("young",)}), Rule(name="old", where={"age": ("odl",)}))
    group = segment(Pairs(60, 0, 0, 40), "young")
    found = Measured("chat", "chat@v1", "improve", 0.05, segment(Pairs(0, 99, 0, 0)), {"segment": (group,)})
    made = judge([found], GateConfig(segments=("segment",), rules=rules))
    assert made.verdict == "hold" and "no row is of the segment 'old' in any suite" in said(made)


def test_a_suite_that_is_too_small_is_held_with_the_rows_that_it_would_take() -> None:
    made = judge([suite(Pairs(30, 0, 0, 30))], GateConfig())
    assert "can't be ruled out" in said(made)
    assert said(made).endswith(" To rule out a fall of 5 points takes about 70 rows.")
    made = judge([suite(Pairs(20, 2, 2, 16))], GateConfig())
    assert "at least 50 are asked for. To rule out a fall of 5 points takes about " in said(made)
    assert said(made).endswith(" rows, if 10 % of them differ and as many are won as lost.")
    made = judge([suite(Pairs(20, 2, 2, 16), "improve")], GateConfig(least_rows=10))
    assert "To show a rise of 2 points takes about 1,6" in said(made)


def test_a_suite_that_only_had_to_keep_its_level_is_promoted_if_the_margin_is_ruled_out() -> None:
    made = judge([suite(Pairs(300, 6, 6, 88))], GateConfig())
    assert made.verdict == "promote"
    assert "Suite helpdesk did not fall: from 76 % to 76 % of 400 rows (0 points, 6 won, 6 lost); " in said(made)
    assert "a fall of 5 points or more is ruled out (p" in said(made)


def test_a_fall_that_can_not_be_ruled_out_holds_though_none_is_shown() -> None:
    made = judge([suite(Pairs(60, 6, 6, 28))], GateConfig())
    assert made.verdict != "promote"
    assert "may have fallen" in said(made) and "a fall of 5 points or more can't be ruled out" in said(made)


def test_a_fall_is_called_one() -> None:
    made = judge([suite(Pairs(60, 0, 30, 10)), suite(Pairs(0, 0, 30, 70), "improve")], GateConfig())
    assert [one.reason.partition(":")[0] for one in made.suites] == ["Suite helpdesk fell"] * 2
    assert len(made.reasons) == 2
    assert made.verdict == "reject"
    assert [one.verdict for one in made.suites] == ["fail", "fail"]


def test_an_audience_with_too_few_rows_is_said_not_passed() -> None:
    made = judge([suite(Pairs(0, 100, 0, 0), "improve", small={"new_hire": 3})], GateConfig())
    assert said(made) == "Suite helpdesk, audience new hire: 3 rows with a verifier, and at least 6 are asked for."
    assert [audience.verdict for audience in made.suites[0].audiences] == ["too few"]


def test_rows_without_a_verifier_show_nothing() -> None:
    made = judge([Measured("chat", "chat@v1", "keep", 0.05, None)], GateConfig())
    assert said(made) == "Suite chat: none of its rows has a verifier, so nothing is shown."
    assert (made.suites[0].n, made.suites[0].before, made.suites[0].verdict) == (0, None, "too few")


class Compared:
    """What the gate reads of a comparison."""

    data = "chat@v1"
    split = "heldout"
    overall = segment(Pairs(60, 6, 6, 28))
    segments = {"audience": ()}
    small = {"audience": {}}


def test_a_suites_own_margin_goes_before_that_of_its_name_and_that_before_the_gates() -> None:
    gate = GateConfig(guarded={"chat": 0.3})
    own, named, usual = (
        measured(name, "keep", Compared(), gate, margin)  # type: ignore[arg-type]
        for name, margin in (("chat", 0.2), ("chat", None), ("other", None))
    )
    assert (own.margin, named.margin, usual.margin) == (0.2, 0.3, 0.05)
    assert [judge([one], GateConfig()).verdict for one in (own, usual)] == ["promote", "hold"]


def test_rows_that_were_trained_on_are_refused() -> None:
    found = Compared()
    found.split = "train"
    with pytest.raises(DataError, match="its train rows were answered, and the gate judges held-out rows alone"):
        measured("chat", "improve", found, GateConfig())  # type: ignore[arg-type]


def test_a_guarded_suite_that_was_not_measured_holds() -> None:
    made = judge([suite(Pairs(80, 30, 4, 86), "improve")], GateConfig(guarded={"safety": 0.02}))
    assert made.verdict == "hold"
    assert said(made) == "Suite safety is guarded, and nothing of it was measured."


def test_a_group_of_which_a_fall_is_not_ruled_out_holds_where_it_has_to_be_shown() -> None:
    found = [suite(Pairs(80, 30, 4, 86), "improve", audiences={"novice": Pairs(10, 1, 1, 8)})]
    assert judge(found, GateConfig()).verdict == "promote"
    made = judge(found, GateConfig(segment_rule="shown"))
    assert made.verdict == "hold" and "can't be ruled out (p = 0." in said(made)


def test_harm_to_one_of_many_groups_is_claimed_only_if_luck_among_them_can_not_explain_it() -> None:
    unlucky = Pairs(100, 0, 5, 0)  # one-sided p = 0.031, alone enough
    gate = GateConfig(segment_margin=0.04)
    one = judge([suite(Pairs(0, 300, 0, 0), "improve", audiences={"a": unlucky})], gate)
    many = {"a": unlucky, **{name: Pairs(50, 1, 1, 53) for name in "bcdef"}}
    assert one.verdict == "reject"
    assert judge([suite(Pairs(0, 300, 0, 0), "improve", audiences=many)], gate).verdict == "hold"
