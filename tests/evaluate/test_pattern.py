"""The verifier ``pattern``: texts and regular expressions in a row's check."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from honed import registry
from honed.errors import DataError
from honed.evaluate.verifiers.pattern import verify

PRICE = {"contains": ["€14.50"], "lacks": ["euros"], "matches": [r"^The "], "ends": "Have fun!"}


def test_it_is_registered_by_its_name() -> None:
    assert registry.get("verifiers", "pattern") is verify


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("The pot costs €14.50. Have fun!\n", "has everything asked for"),
        ("The pot costs €14.5. Have fun!", "lacks '€14.50'"),
        ("The pot costs €14.50 (14.5 euros). Have fun!", "contains 'euros'"),
        ("It costs €14.50. Have fun!", "does not match '^The '"),
        ("The pot costs €14.50.", "does not end with 'Have fun!'"),
    ],
)
def test_the_reason_names_what_is_missing(answer: str, why: str) -> None:
    score = verify(PRICE, (), answer)
    assert score.why == f"The answer {why}."
    assert score.passed == (why == "has everything asked for")


@given(st.text())
def test_no_answer_makes_it_fail(answer: str) -> None:
    assert verify(PRICE, (), answer) == verify(PRICE, (), answer)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "asks for nothing"),
        ({"ends": ""}, "asks for nothing"),
        ({"contain": ["a"]}, "no parameter 'contain'"),
        ({"contains": "a"}, "'contains' of the verifier 'pattern' is no list"),
        ({"lacks": [""]}, "'lacks' of the verifier 'pattern' is no list"),
        ({"ends": 3}, "'ends' of the verifier 'pattern' is no text"),
        ({"matches": ["("]}, "not a regular expression: '('"),
    ],
)
def test_parameters_that_cannot_be_read_are_named(params: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message.replace("(", r"\(")):
        verify(params, (), "a")
