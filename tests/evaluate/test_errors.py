"""Error analysis: a planted weakness is found, chance isn't, and what is asked for can be acted on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honed.builtin.load import load
from honed.data.synthesize import screen
from honed.errors import DataError
from honed.evaluate import asked, compare
from honed.evaluate.compare import Evaluation
from honed.evaluate.errors import analysis, clusters, reasons, wording
from honed.evaluate.errors.analysis import Errors
from honed.evaluate.outcome import Answer
from honed.evaluate.suites import chosen
from honed.records import Check, Conversation, Message, RowsWanted
from honed.store.workspace import Workspace
from tests.evaluate.planted import evaluation

ROWS = load("heldout")
TASKS = ("route", "extract", "constrain", "audience", "amend", "clarify", "policy")
EVIL = '</script><b onclick="x()">\u202eآخر``` | \x07'


def planted(rows: list[Conversation] | None = None, weak: str = "constrain", **changed: Any) -> Evaluation:
    """An evaluation that fails nearly all rows of one task, and few others."""
    skill = {task: 0.1 if task == weak else 0.9 for task in TASKS}
    return evaluation(rows or ROWS, skill, name="m", **changed)


@pytest.fixture(scope="module")
def found() -> Errors:
    return analysis.analyse(planted())


def answer(row: str, passed: bool | None, prompt: str = "Say it.", **given: Any) -> Answer:
    values: Mapping[str, Any] = {
        "row": row, "prompt": (Message(role="user", content=prompt),), "ideal": "", "tags": {}, "answer": "It is said.",
        "tokens": 3, "finish": "stop", "passed": passed, "why": "It has 3 words.", "floors": {},
    }  # fmt: skip
    return Answer.model_validate({**values, **given})


def of(answers: list[Answer]) -> Errors:
    made = evaluation([Conversation(messages=ROWS[0].messages)], 0.5, name="m")
    return analysis.analyse(Evaluation("job", made.outcome, {one.row: one for one in answers}, {}))


@pytest.mark.parametrize(
    ("table", "p_value"),
    [((8, 10, 1, 10), 0.0054775), ((3, 4, 1, 4), 0.4857143), ((0, 5, 0, 5), 1.0), ((5, 5, 0, 5), 0.0079365)],
)
def test_fishers_exact_test_gives_the_published_values(table: tuple[int, int, int, int], p_value: float) -> None:
    assert clusters.fisher(*table) == pytest.approx(p_value, rel=1e-4)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_fishers_test_is_the_same_for_either_group(n: int, others: int, data: st.DataObject) -> None:
    one, other = data.draw(st.integers(0, n)), data.draw(st.integers(0, others))
    p_value = clusters.fisher(one, n, other, others)
    assert 0 < p_value <= 1
    assert p_value == pytest.approx(clusters.fisher(other, others, one, n))


def test_a_planted_weak_task_is_shown_and_no_other_task(found: Errors) -> None:
    shown = {(one.kind, one.name) for one in found.shown}
    assert ("task", "constrain") in shown
    assert {name for kind, name in shown if kind == "task"} == {"constrain"}
    weak = next(one for one in found.clusters if (one.kind, one.name) == ("task", "constrain"))
    assert (weak.failed.n, weak.failed.n + weak.others.n) == (60, 420)
    assert weak.interval.low > 0 and weak.p_value <= weak.p_adjusted < 0.001
    assert "task constrain" in found.headline


def test_a_wide_group_that_fails_because_of_a_narrow_one_is_not_asked_for(found: Errors) -> None:
    assert ("benefit", "specificity") in {(one.kind, one.name) for one in found.shown}  # half of it is that task
    first, *_ = found.rows_wanted.wanted
    assert (first.tags["task"], first.verifier, first.constraint, first.shown) == ("constrain", "constrain", "", True)
    assert [one.tags.get("task") for one in found.rows_wanted.wanted if one.shown] == ["constrain"]
    assert first.count == 10 * round(200 * first.failed / first.n / 10)
    assert f"{first.count} rows of task constrain" in found.said[0]


def test_the_document_is_read_back_and_names_held_out_rows_with_a_caution(found: Errors) -> None:
    read = RowsWanted.model_validate_json(found.rows_wanted.model_dump_json())
    assert read == found.rows_wanted
    failing = {row.id for row in ROWS if row.tags["task"] == "constrain"}
    assert read.wanted[0].examples and set(read.wanted[0].examples) <= failing
    assert "never copy" in read.caution
    assert "learning curve" in read.rule


def test_equal_skill_everywhere_shows_no_task() -> None:
    found = analysis.analyse(evaluation(ROWS, 0.6, name="even", seed=5))
    assert [one.name for one in found.shown if one.kind in ("task", "audience", "benefit", "constraint")] == []


def test_beside_another_evaluation_groups_say_what_it_failed_and_what_was_lost() -> None:
    rows = ROWS[:140]
    before, after = evaluation(rows, 0.9, name="base"), planted(rows)
    found = analysis.analyse(after, before)
    weak = next(one for one in found.clusters if (one.kind, one.name) == ("task", "constrain"))
    counts = [
        (bool(before.answers[row].passed), bool(one.passed))
        for row, one in after.answers.items()
        if one.tags["task"] == "constrain"
    ]
    assert weak.before and weak.before.passed == sum(not was for was, _ in counts)
    assert (weak.won, weak.lost) == (counts.count((False, True)), counts.count((True, False)))
    with pytest.raises(DataError, match="other verified rows"):
        analysis.analyse(after, evaluation(rows[1:], 0.9, name="base"))


def test_constraints_of_other_verifiers_are_the_parameters_that_tell_rows_apart(found: Errors) -> None:
    names = {one.name for one in found.clusters if one.kind == "constraint"}
    assert {"constrain: bullets", "constrain: ending", "route: queue repair"} <= names
    assert not {"constrain", "constrain: topic", "constrain: facts"} & names


def test_each_instruction_of_a_row_is_judged_on_its_own() -> None:
    asks = [{"id": "punctuation:no_comma", "kwargs": {}}, {"id": "keywords:existence", "kwargs": {"keywords": ["cat"]}}]
    check = Check(verifier="ifeval", params={"instructions": asks})
    spoiled = "the cat, sat, there"
    answers = [
        answer(f"r{at}", at >= 10, check=check, answer=spoiled if at < 10 else "the cat sat there") for at in range(20)
    ]
    found = of(answers)
    cells = {one.name: one for one in found.clusters if one.kind == "constraint"}
    assert cells["punctuation:no_comma"].failed.passed == 10
    assert cells["keywords:existence"].failed.passed == 0
    assert cells["punctuation:no_comma"].unit == "instructions" and cells["punctuation:no_comma"].shown
    wanted = found.rows_wanted.wanted[0]
    assert (wanted.verifier, wanted.constraint) == ("ifeval", "punctuation:no_comma")
    assert [(one.constraint, one.reason, one.share.passed) for one in found.reasons] == [
        ("punctuation:no_comma", "There are N commas.", 10)
    ]
    assert asked.text(check).startswith(asked.parts(answers[0])[0].text)


@pytest.mark.parametrize(
    ("why", "same"),
    [
        ("It has 3 words, not 12.", "It has N words, not N."),
        ("'sun' occurs 1,200 times.", "… occurs N times."),
        ("It lacks 'a', 'b' and 'c'.", "It lacks …."),
        ("It doesn't end with “x 2”.", "It doesn't end with …."),
        ("", ""),
    ],
)
def test_reasons_that_differ_in_numbers_and_quotes_are_one(why: str, same: str) -> None:
    assert reasons.normal(why) == same


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_any_text_can_be_a_reason(why: str) -> None:
    assert len(reasons.normal(why)) <= 160


def test_words_of_failing_prompts_are_found_with_their_counts() -> None:
    prompts = [(f"Tell me of thing {at} in exactly nine words", False) for at in range(30)]
    prompts += [(f"Tell me of thing {at} please", True) for at in range(60)]
    found = of([answer(f"r{at}", passed, prompt) for at, (prompt, passed) in enumerate(prompts)]).wording
    assert found is not None
    first = found.failing[0]
    assert "nine" in first.phrase or "exactly" in first.phrase or "words" in first.phrase
    assert (first.failing, first.passing) == (30, 0)
    assert first.interval.low > 1 and first.p_adjusted < 0.05
    assert {"please"} & set(" ".join(one.phrase for one in found.passing).split())
    assert not any(one.phrase == "tell me" for one in (*found.failing, *found.passing))


def test_words_are_not_compared_on_few_prompts() -> None:
    found = of([answer(f"r{at}", at > 5) for at in range(60)]).wording
    assert found is not None
    assert found.failing == () == found.passing
    assert f"from {wording.LEAST_PROMPTS} of each on: 6 prompts fail and 54 pass" in found.note


def test_without_verified_rows_or_failures_or_with_one_row_there_is_nothing_to_cluster() -> None:
    none = of([answer("a", None)])
    assert (none.failed, none.clusters, none.rows_wanted.wanted) == (None, (), ())
    assert "No row has a verifier" in none.headline
    perfect = of([answer(f"r{at}", True) for at in range(30)])
    assert "nothing to cluster" in perfect.headline and perfect.said == ()
    one = of([answer("a", False)])
    assert "too few rows for groups" in one.headline and one.rows_wanted.wanted == ()


def test_answers_that_were_kept_without_their_checks_are_named() -> None:
    found = of([answer(f"r{at}", at % 2 == 0) for at in range(20)])
    assert "20 answers are of an evaluation that kept no checks" in " ".join(found.notes)


def test_cut_and_empty_answers_are_groups_and_hostile_text_is_only_text() -> None:
    cut = [answer(f"c{at}", False, EVIL, finish="length", why=EVIL, tags={"task": EVIL}) for at in range(12)]
    empty = [answer(f"e{at}", False, answer=" ", why="The answer is empty.") for at in range(12)]
    good = [answer(f"g{at}", True) for at in range(24)]
    found = of([*cut, *empty, *good])
    assert {("answer", "cut at the longest length"), ("answer", "empty")} <= {
        (one.kind, one.name) for one in found.shown
    }
    assert any("cut at 256 tokens fail" in sentence for sentence in found.said)
    assert EVIL in {one.name for one in found.clusters}


def test_the_rows_asked_for_do_not_depend_on_the_order_of_the_answers() -> None:
    made = planted(ROWS[:140])
    turned = Evaluation(made.job, made.outcome, dict(reversed(made.answers.items())), made.losses)
    assert analysis.analyse(turned) == analysis.analyse(made)
    assert compare.fate(True, False) == "lost"


def test_rows_wanted_after_a_group_of_suites_name_each_whose_text_must_be_kept_out(workspace: Workspace) -> None:
    found = analysis.analyse(planted(data="suite benefits")).rows_wanted
    members = chosen.GROUPS["benefits"]
    assert found.data == f"suite {', '.join(members)}"
    against = screen.against(workspace, found, ())
    assert [Path(one).name for one in against] == list(members)
    assert analysis.analyse(planted(data="suite ifeval")).rows_wanted.data == "suite ifeval"
