"""What each family asks for, on one hand-written row each: the answer that passes and the near misses that don't."""

from __future__ import annotations

from typing import Any

import pytest

from honed.builtin.tasks import amend, audience, clarify, constrain, extract, policy, route

FORM = {"topic": "Dewpot", "facts": ["oak", "lid"]}
BULLETS = FORM | {"bullets": 2, "ending": "Bye!"}
ASK = {"detail": "colour", "value": None}
NOTE = {"detail": "colour", "value": "red"}
STATED = {"topic": "returns", "value": "14 days", "others": ["5 days"]}
UNSTATED = {"topic": "returns", "value": None, "others": ["5 days"]}
JSON = {"fields": {"name": "Ada", "order": 12}}
CHILD = {"reader": "child", "facts": ["cold water"]}
LEARNER = {"reader": "second_language", "facts": ["cold water"]}
EXPERT = {"reader": "expert", "facts": ["cold water"]}
SHORT = "Take the filter out. Wash it in cold water. Then put it back in."
LONG = (
    "Periodic filter maintenance necessitates thorough irrigation with cold water to guarantee uninterrupted "
    "operational availability of the irrigation system."
)

PASSES: list[tuple[Any, dict[str, Any], str]] = [
    (route, {"queue": "repair"}, " Repair.\n"),
    (extract, JSON, '{"order": 12, "name": " Ada"}'),
    (extract, JSON, '{"name": "Ada", "order": "12"}'),
    (constrain, BULLETS, "* The Dewpot is made of oak.\n* It has a lid.\nBye!"),
    (constrain, BULLETS, "- Oak makes the Dewpot.\n- It has a lid. Bye!"),
    (constrain, FORM | {"case": "upper", "max_words": 3}, "DEWPOT: OAK LID"),
    (constrain, FORM | {"include": "sturdy", "avoid": "lid"}, "A Sturdy Dewpot of oak."),
    (amend, FORM | {"topic": "Pippin", "avoid": "Dewpot", "bullets": 1}, "- Pippin is made of oak."),
    (audience, CHILD, SHORT),
    (audience, LEARNER, SHORT),
    (audience, EXPERT, LONG),
    (clarify, ASK, "What colour would you like?"),
    (clarify, NOTE, "A red one, noted."),
    (policy, STATED, "You have 14 days."),
    (policy, UNSTATED, "Returns: the policy does not say."),
]
FAILS: list[tuple[Any, dict[str, Any], str, str]] = [
    (route, {"queue": "repair"}, "billing", "the right one is 'repair'"),
    (route, {"queue": "repair"}, "repair, billing", "not one queue"),
    (extract, JSON, '{"name": "Ada"}', "lacks the key 'order'"),
    (extract, JSON, '{"name": "ada", "order": 12}', "wrong value for 'name'"),
    (extract, JSON, '{"name": "Ada", "order": 12, "city": "X"}', "unasked key 'city'"),
    (extract, JSON, '{"name": "Ada", "order": [12]}', "wrong value for 'order'"),
    (extract, JSON, '[{"name": "Ada", "order": 12}]', "not one JSON object"),
    (extract, JSON, 'Here: {"name": "Ada", "order": 12}', "not one JSON object"),
    (constrain, BULLETS, "- The Dewpot is made of oak.\nBye!", "has 1 bullets"),
    (constrain, BULLETS, "- The Dewpot is made of oak.\n- Oak again.\nBye!", "already stated"),
    (constrain, FORM, "The Dewpot has a lid. The Dewpot has a lid.", "twice"),
    (constrain, BULLETS, "Hi\n- The Dewpot is made of oak.\n- It has a lid.\nBye!", "neither bullets nor"),
    (constrain, BULLETS, "- The Dewpot is made of oak.\n- It has a lid.", "does not end"),
    (constrain, FORM | {"max_words": 4}, "The Dewpot is made of oak.", "6 words where at most 4"),
    (constrain, FORM | {"case": "lower"}, "the Dewpot has a lid", "not all in lower case"),
    (constrain, FORM, "The Dewpot is nice.", "none of the given facts"),
    (constrain, FORM, "It has a lid.", "does not mention 'Dewpot'"),
    (amend, FORM | {"avoid": "Dewpot", "bullets": 1}, "- The Dewpot is made of oak.", "forbidden word 'Dewpot'"),
    (audience, CHILD, LONG, "reads at grade"),
    (audience, CHILD, SHORT.replace("cold water", "the sink"), "lost the key fact"),
    (audience, LEARNER, SHORT + " It's easy.", "contraction"),
    (audience, EXPERT, SHORT, "reads at grade"),
    (clarify, ASK, "Which colour? And which size?", "not exactly one question"),
    (clarify, ASK, "Which one would you like?", "does not ask for the colour"),
    (clarify, ASK, "The colour is red, noted.", "not exactly one question"),
    (clarify, NOTE, "Which colour would you like?", "asks although"),
    (clarify, NOTE, "The colour is blue, noted.", "does not note the colour 'red'"),
    (policy, STATED, "Returns: the policy does not say.", "lacks '14 days'"),
    (policy, STATED, "Either 14 days or 5 days.", "brings in '5 days'"),
    (policy, UNSTATED, "The policy does not say.", "does not name the topic"),
    (policy, UNSTATED, "Returns take 5 days.", "does not say that the policy"),
    (policy, STATED, "You have 14 days. That is long.", "not one sentence"),
    (clarify, NOTE, "Red, noted. Red, noted.", "say it once"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "params", "answer"), PASSES)
def test_right_answers_in_other_words_pass(family: Any, params: dict[str, Any], answer: str) -> None:
    score = family.verify(params, (), answer)
    assert score.passed, score.why


@pytest.mark.parametrize(("family", "params", "answer", "why"), FAILS)
def test_near_misses_fail_and_the_reason_is_named(family: Any, params: dict[str, Any], answer: str, why: str) -> None:
    score = family.verify(params, (), answer)
    assert not score.passed
    assert why in score.why
