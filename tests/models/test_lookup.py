"""Guesses from what was said before."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from honed.models.lookup import Lookup


@given(st.lists(st.integers(0, 4), max_size=60), st.integers(0, 20))
def test_guesses_go_on_as_the_text_did_after_its_last_tokens(ids: Sequence[int], most: int) -> None:
    lookup, told = Lookup([]), list(ids)
    for token in told:
        lookup.add(token)
    guesses = lookup.ahead(most)
    assert len(guesses) <= most
    for guess in guesses:  # each is what followed some earlier place with the same three tokens
        assert any(told[at : at + 3] == told[-3:] and told[at + 3] == guess for at in range(len(told) - 3))
        told.append(guess)


@given(st.lists(st.integers(0, 1000), min_size=3, max_size=12, unique=True))
def test_a_text_that_repeats_itself_is_foretold(period: list[int]) -> None:
    lookup = Lookup(period * 8)
    assert lookup.ahead(16) == (period * 8)[: min(16, len(lookup.ahead(16)))]
    assert len(lookup.ahead(16)) > 1


def test_nothing_is_guessed_before_guesses_have_come_true() -> None:
    assert Lookup([1, 2, 3, 4, 1, 2, 3]).ahead(8) == []
    assert Lookup(list(range(50))).ahead(8) == []


def test_a_wrong_guess_ends_them() -> None:
    lookup = Lookup([1, 2, 3, 4] * 6)
    assert lookup.ahead(4)
    lookup.add(99)
    assert lookup.ahead(4) == []
