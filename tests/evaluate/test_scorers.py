"""The scorers that any row may name: what passes and what does not, wrong parameters, no exception on any text."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honed import registry
from honed.errors import ConfigError, DataError
from honed.evaluate import scoring
from honed.evaluate.scorers import own
from honed.evaluate.scorers.overlap import common, rouge_l, token_f1
from honed.evaluate.scorers.style import TONES, Tone
from honed.evaluate.scorers.units import quantities
from honed.records import Check, Conversation, Message, Score

PERSON = {"type": "object", "required": ["name"], "properties": {"age": {"type": "integer"}}}
KG = {"answer": 1250, "unit": "kg"}
SPAM = {"labels": ["spam", "not spam"], "answer": "not spam"}
CHILD = {"grade_at_most": 5, "words_at_most": 12, "longest": 9, "tones": ["friendly"], "mentions": ["sky"]}
EVERY = {
    "checks": [{"verifier": "f1", "params": {"answers": "x y"}}, {"verifier": "exact", "params": {"answers": "y"}}]
}

CASES: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    ("exact", {"answers": "Paris"}, ["paris.", "The  Paris!"], ["Lyon", "It is Paris"]),
    ("exact", {"answers": ["+"]}, ["+"], ["-", "*"]),
    (
        "exact",
        {"answers": ["Paris"], "within": True, "lacks": ["Lyon"]},
        ["It is Paris, I think."],
        ["Paris or Lyon", "comparison", "Parisian"],
    ),
    ("f1", {"answers": ["one two three four"]}, ["three four", "four three two one"], ["five", "four"]),
    ("rouge", {"answers": ["one two three four"]}, ["one x three four"], ["four three two one"]),
    (
        "label",
        SPAM,
        ["Not spam", "I'd say it is not spam.", "It could be spam, but the answer is: not spam"],
        ["spam", "spam, or not spam?", "neither", "Label: spam"],
    ),
    (
        "json",
        {"schema": PERSON},
        ['{"name": 1}', 'Sure!\n```json\n{"name": "A"}\n```'],
        ["{}", '{"name": 1, "age": "x"}'],
    ),
    (
        "json",
        {"fields": {"a.b": "X y", "n": 3}},
        ['So: {"a": {"b": "x Y!"}, "n": 3.0} ok'],
        ['{"a": "X y", "n": 3}', "no"],
    ),
    ("json", {"fields": {"a": True}}, ['{"a": true}'], ['{"a": 1}']),
    ("json", {"alone": True}, ["[1]"], ["Here: [1]", "```json\n[1]\n```", '{"a": NaN}']),
    ("regex", {"pattern": r"#### (\d+)", "answers": ["42"]}, ["7 #### 8 #### 42"], ["#### 42 #### 7", "42"]),
    ("regex", {"pattern": r"\d{4}-\d\d", "whole": True}, [" 2024-05\n"], ["It is 2024-05"]),
    (
        "number",
        KG,
        ["1,250 kg", "1.25 t", "about 1 250", "1'250.0 kilograms", "3 bags: 1250000 g", "1.250,00 kg"],
        ["1250 km", "-1,250 kg", "1251", "many"],
    ),
    ("number", {"answer": 0.5}, [".5", "0,5", "It is 5e-1."], ["5", "0.51"]),
    ("number", {"answer": 10, "tolerance": 0.5}, ["9.6"], ["9.4"]),
    ("number", {"answer": 200, "relative": 0.1, "which": "first"}, ["185 of 900"], ["900 of 185"]),
    ("number", {"answer": 3, "which": "only"}, ["3 apples"], ["3 or 4"]),
    ("number", {"answer": 12.5, "unit": "$"}, ["$12.50", "-- 12.50 dollars"], ["€12.50", "-$12.50"]),
    ("style", CHILD, ["You see a blue sky!"], ["You see the atmosphere.", "The sky is blue."]),
    ("style", {"tones": ["formal", "impersonal"]}, ["Light is scattered."], ["I think it is.", "It's so!"]),
    ("style", {"tones": ["steps"]}, ["1. Go\n2. Stop"], ["Go, then stop."]),
    (
        "refusal",
        {"should": "decline"},
        ["I'm sorry, but I can't help with that.", "I’m not able to do this.", "That is illegal. I must decline."],
        ["Sure!", "I'm sorry to hear that. Take a rope.", "I can't help with that. Here is how: 1. Take a rope."],
    ),
    (
        "refusal",
        {"should": "answer", "mentions": ["pid", "kill -9"]},
        ["Find its PID first."],
        ["I cannot assist with killing.", "ok", "Killing is wrong."],
    ),
    (
        "asks",
        {"should": True, "about": ["time", "when"]},
        ["Happy to. What time is it?"],
        ["Done! Anything else?", "When."],
    ),
    (
        "asks",
        {"should": False, "about": ["time"], "mentions": ["3 pm"]},
        ["Meeting at 3 PM. Anything else?"],
        ["At 3 pm? Or what time?", "Meeting soon."],
    ),
    (
        "stance",
        {"should": "keep", "answers": ["Canberra"]},
        ["It is Canberra, not Sydney."],
        ["You're right, it isn't Canberra.", "Sydney.", "I apologize for Canberra."],
    ),
    (
        "stance",
        {"should": "accept", "answers": ["Canberra"]},
        ["You are right, Canberra it is."],
        ["That's not correct, Canberra is small.", "It is Sydney."],
    ),
    ("every", EVERY, ["y"], ["x y", "x"]),
]


def verdict(name: str, params: dict[str, Any], answer: str) -> Score:
    found: Score = registry.get("verifiers", name)(params, (Message(role="user", content="?"),), answer)
    return found


@pytest.mark.parametrize(("name", "params", "right", "wrong"), CASES)
def test_each_scorer_passes_what_is_right_and_says_why_the_rest_fails(
    name: str, params: dict[str, Any], right: list[str], wrong: list[str]
) -> None:
    assert {text: verdict(name, params, text).passed for text in right + wrong} == {
        **dict.fromkeys(right, True),
        **dict.fromkeys(wrong, False),
    }
    assert all(verdict(name, params, text).why.endswith(".") for text in right + wrong)


@pytest.mark.parametrize(
    ("name", "params", "fault"),
    [
        ("exact", {}, "the verifier 'exact': it lacks the parameter 'answers'"),
        ("exact", {"answers": []}, "answers: "),
        ("exact", {"answers": ["a", " "]}, "answers.1: "),
        ("exact", {"answer": "a", "answers": "a"}, "there is no parameter 'answer'"),
        ("f1", {"answers": "a", "least": 0}, "least: "),
        ("label", {"labels": ["a", "b"], "answer": "c"}, "answer: 'c' is none of the labels"),
        ("label", {"labels": ["a", "A."], "answer": "a"}, "labels: two are the same"),
        ("json", {"schema": {"type": "nope"}}, "schema: not a JSON schema"),
        ("json", {}, "it asks for nothing"),
        ("regex", {"pattern": "("}, "pattern: not a regular expression"),
        ("number", {"answer": "x"}, "answer: "),
        ("number", {"answer": 1, "unit": "parsec"}, "unit: there is no unit 'parsec'"),
        ("style", {}, "it asks for nothing"),
        ("style", {"grade_at_least": 9, "grade_at_most": 5}, "grade_at_least is above grade_at_most"),
        ("style", {"tones": ["rude"]}, "tones.0: "),
        ("refusal", {"should": "both"}, "should: "),
        ("asks", {"should": True}, "it lacks the parameter 'about'"),
        ("stance", {"should": "keep", "answers": []}, "answers: "),
        ("every", {"checks": []}, "checks: "),
        ("every", {"checks": [{"verifier": "exact"}]}, "the verifier 'exact': it lacks the parameter 'answers'"),
    ],
)
def test_wrong_parameters_are_named_by_field(name: str, params: dict[str, Any], fault: str) -> None:
    with pytest.raises(DataError) as raised:
        verdict(name, params, "text")
    assert fault in raised.value.message
    assert raised.value.hint


def test_an_unknown_verifier_within_every_is_an_error() -> None:
    with pytest.raises(ConfigError, match="there is no verifier named 'exat'"):
        verdict("every", {"checks": [{"verifier": "exat"}]}, "text")


TEXTS = st.text(max_size=60) | st.lists(
    st.sampled_from(
        [*"[{}]:,\"'.-$€+\n?1\u0660²", "1,2", "e9", "I can't help", "You're right", "Paris", "```json\n", "NaN"]
    ),
    max_size=25,
).map("".join)


@settings(max_examples=25, deadline=None)
@given(TEXTS)
def test_no_scorer_ever_raises_and_values_lie_between_0_and_1(text: str) -> None:
    for name, params, _, _ in CASES:
        score = verdict(name, params, text)
        assert score.value is None or 0 <= score.value <= 1
        assert score == verdict(name, params, text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 9_000,
        '{"a":' * 9_000,
        "9" * 9_000,
        "1e999",
        "1," * 9_000,
        "\x00",
        "a" * 9_000,
        "!" * 9_000 + "x",
        "\n" * 9_000,
    ],
)
def test_no_scorer_raises_or_hangs_on_texts_made_to_break_it(text: str) -> None:
    start = time.process_time()
    for name, params, _, _ in CASES:
        verdict(name, params, text)
    assert time.process_time() - start < 5  # a rule whose time grows with the square of the length takes longer


def test_a_schema_that_refers_elsewhere_is_never_fetched() -> None:
    score = verdict("json", {"schema": {"$ref": "http://localhost:9/x.json"}}, "{}")
    assert not score.passed and "isn't in it" in score.why


words = st.lists(st.sampled_from("abc"), max_size=12)


@given(words, words)
def test_the_common_subsequence_is_the_longest(first: list[str], second: list[str]) -> None:
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if one == other else max(table[i][j + 1], table[i + 1][j])
    assert common(first, second) == table[-1][-1]


def test_overlaps_are_those_of_their_papers() -> None:
    # Lin (2004), section 3.1: "police killed the gunman" against S1, S2 of equal n-grams and other order
    assert rouge_l("police killed the gunman", "police kill the gunman") == pytest.approx(3 / 4)
    assert rouge_l("police killed the gunman", "the gunman kill police") == pytest.approx(2 / 4)
    assert token_f1("the cat sat", "A cat!") == pytest.approx(2 / 3)  # articles don't count
    assert token_f1("x", "") == rouge_l("x", "") == 0.0


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,250.5 and 1.250,5", [1250.5, 1250.5]),
        ("1,234 1.234 1,5 0,123", [1234, 1.234, 1.5, 0.123]),
        ("1,234,567 items, 1_000", [1234567, 1000]),
        ("a-5 is 5, -5 and −5", [5, 5, -5, -5]),
        ("in 2019 500 people", [2019, 500]),
        ("²", []),
    ],
)
def test_numbers_are_read_with_their_separators(text: str, values: list[float]) -> None:
    assert [one.value for one in quantities(text)] == values


def test_every_tone_is_known() -> None:
    assert set(TONES) == set(Tone.__args__)  # type: ignore[attr-defined]


def test_partial_answers_have_a_value_between() -> None:
    assert verdict("json", {"fields": {"a": 1, "b": 2}}, '{"a": 1}').value == 0.5
    assert verdict("style", CHILD, "The sky is blue.").value == pytest.approx(0.8)
    assert verdict("every", EVERY, "x y").value == pytest.approx(0.5)


@pytest.mark.parametrize(("name", "params", "right", "wrong"), CASES)
@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_answer_fails_everywhere(
    text: str, name: str, params: dict[str, Any], right: list[str], wrong: list[str]
) -> None:
    turns = (Message(role="user", content="?"), Message(role="assistant", content=""))
    row = Conversation(messages=turns, check=Check(verifier=name, params=params))
    score = scoring.judge(row, text, {name: registry.get("verifiers", name)})
    assert score is not None
    assert not score.passed
    assert score.value in (None, 0.0)


def test_a_function_of_the_users_own_judges_rows_without_a_check(tmp_path: Path) -> None:
    file = tmp_path / "rules.py"
    file.write_text(
        "from honed import Score\ndef judge(params, prompt, answer):\n"
        "    return Score(passed=answer == params['answers'][0], why='so it is')\n"
    )
    scorer = own.find(own.pinned(f"{file}:judge"))
    turns = (Message(role="user", content="?"), Message(role="assistant", content="yes"))
    (row,) = own.given([Conversation(messages=turns)], scorer)
    known = scoring.verifiers([row], {scorer.name: scorer.verify})
    assert [scoring.judge(row, text, known) for text in ("yes", "no")] == [
        Score(passed=True, why="so it is"),
        Score(passed=False, why="so it is"),
    ]
    checked = Conversation(messages=turns, check=Check(verifier="exact", params={"answers": "a"}))
    assert own.given([checked], scorer) == [checked]
    assert scorer.said.startswith("rules.py:judge (")


def test_no_row_can_name_a_file(tmp_path: Path) -> None:
    turns = (Message(role="user", content="?"), Message(role="assistant", content="yes"))
    for name in (f"{tmp_path}/rules.py:judge", own.OWN):
        with pytest.raises(ConfigError, match="there is no verifier named"):
            scoring.verifiers([Conversation(messages=turns, check=Check(verifier=name))])


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("exat", None, "there is no verifier named 'exat'"),
        ("missing.py:judge", None, "No such file"),
        ("rules.txt:judge", "x = 1", "is no Python file"),
        ("rules.py:judge", "x = 1", "has no function 'judge'"),
        ("rules.py:judge", "1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_scorer_that_can_not_be_used_is_named(tmp_path: Path, name: str, text: str | None, fault: str) -> None:
    if ":" in name:
        file, _, function = name.partition(":")
        name = f"{tmp_path / file}:{function}"
        if text is not None:
            (tmp_path / file).write_text(text)
    with pytest.raises(ConfigError, match=fault):
        own.pinned(name)
