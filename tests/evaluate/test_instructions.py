"""The 83 instructions: what follows each, what doesn't, and that nothing in an answer can break them."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honed import registry
from honed.errors import DataError
from honed.evaluate.verifiers.families import IFBENCH, IFEVAL, Family
from honed.evaluate.verifiers.instruction import Instruction, variants
from honed.evaluate.verifiers.language import language
from honed.evaluate.verifiers.sentences import sentences
from honed.evaluate.verifiers.stops import divided
from honed.evaluate.verifiers.tokens import tokens
from tests.evaluate import followed

ALL: dict[str, Instruction[Any]] = {**IFEVAL.table, **IFBENCH.table}
EXAMPLES = {**followed.IFEVAL, **followed.IFBENCH}

# Texts made of what the rules look for, beside any text at all.
MARKS = "* ** *** ****** - \" ' `` [ ] << >> ( { } ) . ... ? ! ?! : , ; 1. Dr. U.S. a.b. P.S. <i> </em> 😀 猫 Ü İ ß"
WORDS = "level Emma Zimbabwe Use the river cannot don't 'tis 1805-10-16 {\"a\": ID,Country,City,Year,Count"
PHRASES = [
    "\0",
    "\ue000",
    "\n",
    "\n\n",
    " ",
    ". ",
    "\r",
    "\u2028",
    "\t",
    "Section 1",
    "Question 1",
    "bald eagle",
    "My Answer:",
]
PIECES = st.sampled_from([*MARKS.split(), *WORDS.split(), *PHRASES])
TEXTS = st.one_of(st.text(), st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=40).map("".join))


def check(family: Family, id_: str, **kwargs: Any) -> dict[str, Any]:
    assert id_ in family.table
    return {"instructions": [{"id": id_, "kwargs": kwargs}]}


def test_there_are_25_and_58_types_each_with_an_example() -> None:
    assert (len(IFEVAL.table), len(IFBENCH.table)) == (25, 58)
    assert (IFEVAL.table.keys(), IFBENCH.table.keys()) == (followed.IFEVAL.keys(), followed.IFBENCH.keys())


@pytest.mark.parametrize("id_", ALL)
def test_an_answer_that_follows_passes_and_one_that_does_not_fails(id_: str) -> None:
    kwargs, follows, fails = EXAMPLES[id_]
    good, bad = ALL[id_].verify(kwargs, (), follows), ALL[id_].verify(kwargs, (), fails)
    assert good.passed, good.why
    assert not bad.passed, bad.why
    assert good.why.endswith(".")
    assert bad.why.endswith(".")


@pytest.mark.parametrize("id_", ALL)
def test_an_empty_answer_fails(id_: str) -> None:
    for answer in ("", " \n\t\n"):
        assert ALL[id_].verify(EXAMPLES[id_][0], (), answer).why == "The answer is empty."
        assert not ALL[id_].verify_loosely(EXAMPLES[id_][0], (), answer).passed


@pytest.mark.parametrize("id_", ALL)
def test_a_wrong_argument_is_an_error_that_names_the_instruction(id_: str) -> None:
    one, kwargs = ALL[id_], EXAMPLES[id_][0]
    with pytest.raises(DataError, match="has no argument 'zebra'") as unknown:
        one.read({**kwargs, "zebra": 1})
    assert id_ in unknown.value.message
    for name in kwargs:
        with pytest.raises(DataError, match=f"lacks the argument '{name}'"):
            one.read({**kwargs, name: None})  # None is not given, as in the benchmarks' files


@pytest.mark.parametrize(
    ("id_", "kwargs", "fault"),
    [
        ("language:response_language", {"language": "xx"}, "no such language"),
        ("keywords:frequency", {"keyword": "a", "frequency": 1, "relation": "more than"}, "at least"),
        ("keywords:existence", {"keywords": []}, "at least 1"),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 1, "nth_paragraph": 2, "first_word": "a"},
            "2",
        ),
        ("count:word_count_range", {"min_words": 9, "max_words": 2}, "above"),
        ("repeat:repeat_span", {"prompt_to_repeat": "a b", "n_start": 2, "n_end": 1}, "not below"),
    ],
)
def test_an_argument_out_of_range_is_an_error(id_: str, kwargs: dict[str, Any], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        ALL[id_].read(kwargs)


@settings(max_examples=600, deadline=None)
@given(id_=st.sampled_from(sorted(ALL)), seed=st.integers(0, 2**32), answer=TEXTS, request=TEXTS)
def test_no_verifier_raises_on_any_answer_to_any_drawn_instruction(
    id_: str, seed: int, answer: str, request: str
) -> None:
    one = ALL[id_]
    params = one.draw(Random(seed), request)
    strict, loose = one.verify(params, (), answer), one.verify_loosely(params, (), answer)
    assert strict.why
    assert loose.passed or not strict.passed  # loose is never stricter


@settings(max_examples=200, deadline=None)
@given(id_=st.sampled_from(sorted(ALL)), seed=st.integers(0, 2**32), request=TEXTS)
def test_what_is_drawn_is_valid_json_says_itself_and_is_drawn_again(id_: str, seed: int, request: str) -> None:
    one = ALL[id_]
    params = one.draw(Random(seed), request)
    again = one.read(json.loads(json.dumps(params.model_dump(mode="json"))))
    assert again == params == one.draw(Random(seed), request)
    said = one.describe(again)
    assert len(said) > 15
    for value in params.model_dump().values():
        if isinstance(value, str) and id_ not in ("language:response_language",):
            assert value in said


@pytest.mark.parametrize("family", [IFEVAL, IFBENCH])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_family_draws_checks_of_different_kinds(family: Family, count: int) -> None:
    for seed in range(40):
        drawn = family.draw(Random(seed), followed.REQUEST, count)
        asked, loose = family.read(drawn)
        kinds = [one.instruction.id.partition(":")[0] for one in asked]
        assert (len(asked), len(set(kinds)), loose) == (count, count, False)
        assert len(family.describe(drawn)) == count
    with pytest.raises(DataError, match="can't draw 99"):
        family.draw(Random(0), count=99)


def test_a_family_draws_a_constraint_that_is_named_with_others_of_other_kinds() -> None:
    for seed in range(10):
        asked, _ = IFEVAL.read(IFEVAL.draw(Random(seed), followed.REQUEST, 3, including="punctuation:no_comma"))
        ids = [one.instruction.id for one in asked]
        assert (ids[0], len({one.partition(":")[0] for one in ids})) == ("punctuation:no_comma", 3)
    with pytest.raises(DataError, match="no ifeval instruction 'punctuation:no_coma'"):
        IFEVAL.draw(Random(0), including="punctuation:no_coma")


def test_the_families_are_registered_as_verifiers_and_as_instructions() -> None:
    for family in (IFEVAL, IFBENCH):
        assert registry.get("instructions", family.name) is family
        verify = registry.get("verifiers", family.name)
        assert not verify(family.draw(Random(1)), (), "").passed


def test_a_row_passes_when_every_instruction_is_followed_and_says_which_is_not() -> None:
    params = {
        "instructions": [
            {"id": "punctuation:no_comma"},
            {"id": "keywords:existence", "kwargs": {"keywords": ["sea"], "relation": None}},
        ]
    }
    assert IFEVAL.verify(params, (), "The sea.").passed
    score = IFEVAL.verify(params, (), "The sea, yes.")
    assert (score.passed, score.why) == (False, "punctuation:no_comma: There are 1 commas.")
    assert [one.strict.passed for one in IFEVAL.judge(params, (), "A lake, yes.")] == [False, False]


def test_the_loose_rule_of_a_row_lets_an_introduction_and_asterisks_go() -> None:
    params = check(IFEVAL, "startend:quotation")
    answer = 'Sure, here it is:\n*"Yes."*'
    assert not IFEVAL.verify(params, (), answer).passed
    assert IFEVAL.verify({**params, "loose": True}, (), answer).passed


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        ({"instructions": [{"id": "punctuation:no_coma"}]}, "there is no ifeval instruction 'punctuation:no_coma'"),
        ({"instructions": [{"id": "count:numbers", "kwargs": {"N": 1}}]}, "there is no ifeval instruction"),
        ({"instructions": []}, "no instructions"),
        ({}, "no instructions"),
        ({"instructions": ["punctuation:no_comma"]}, "not of the form"),
        ({"instructions": [{"id": "punctuation:no_comma", "args": {}}]}, "not of the form"),
        ({"instructions": [{"id": "punctuation:no_comma", "kwargs": [1]}]}, "no mapping"),
        ({"instructions": [{"id": "punctuation:no_comma"}], "loose": 1}, "no boolean"),
        ({"instructions": [{"id": "punctuation:no_comma"}], "lose": True}, "no parameter 'lose'"),
    ],
)
def test_a_check_that_can_not_be_read_is_an_error(params: dict[str, Any], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        IFEVAL.verify(params, (), "Yes.")


def test_the_variants_are_eight_without_lines_and_asterisks() -> None:
    assert variants("*a*\nb\n*c*") == ["*a*\nb\n*c*", "a\nb\nc", "b\n*c*", "*a*\nb", "b", "b\nc", "a\nb"]
    assert variants("a") == ["a", ""]


def test_sentences_end_as_punkt_ends_them() -> None:
    text = 'Mr. Bell left at 5 p.m. for the U.S. Army. "Why?" Nobody knew... The end! (Or not.) No. 7 was late'
    assert sentences(text) == [
        "Mr. Bell left at 5 p.m. for the U.S. Army.",
        '"Why?"',
        "Nobody knew...",
        "The end!",
        "(Or not.)",
        "No.",
        "7 was late",
    ]
    assert sentences("") == sentences(" \n ") == []


def test_sentences_end_at_every_mark_but_for_the_known_cases() -> None:
    text = 'Mr. Bell paid 3.50 at shop.com. He said "yes." Then\nhe left... U.S. troops came. Ph.D. students did not!'
    assert divided(text) == [
        "Mr. Bell paid 3.50 at shop.com.",
        'He said "yes".',
        "Then he left...",
        "U.S. troops came.",
        "Ph.D. students did not!",
    ]


def test_tokens_are_those_of_the_penn_treebank() -> None:
    assert tokens("I can't say \"it's\" $3.50 (or 3,000); cannot we? Yes.") == [
        *("I", "ca", "n't", "say", '"', "it", "'s", '"', "$", "3.50", "(", "or", "3,000", ")", ";", "can", "not"),
        *("we", "?", "Yes", "."),
    ]


def test_a_text_always_has_the_same_language_and_digits_have_none() -> None:
    text = "coastal elegance properties"
    assert len({language.__wrapped__(text) for _ in range(10)}) == 1
    assert language("12345 67") is None
