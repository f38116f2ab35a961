"""Sizes rise, in numbers that people write, and none is larger than the data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from honed.errors import ConfigError
from honed.rounds.curve import sizes


def test_numbers_are_read_as_people_write_them() -> None:
    assert sizes.parse("16,64, 1k,2.5K,1m,all") == (16, 64, 1000, 2500, 1_000_000, None)


@pytest.mark.parametrize("word", ["", "0", "-4", "1.5", "2.0005k", "1g", "few", "all k"])
def test_what_is_no_number_of_rows_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="no number of rows"):
        sizes.parse(f"{word},100k")


@pytest.mark.parametrize(
    ("text", "said"), [("64,16", "'16' comes after 64"), ("8,8", "'8' comes after 8"), ("all,8", "after all")]
)
def test_sizes_that_do_not_rise_are_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        sizes.parse(text)


@given(st.lists(st.integers(1, 10**7), min_size=2, max_size=8, unique=True))
def test_rising_sizes_are_what_was_written(numbers: list[int]) -> None:
    rising = tuple(sorted(numbers))
    assert sizes.parse(",".join(map(str, rising))) == rising


def test_sizes_beyond_the_rows_and_all_twice_are_said_and_dropped() -> None:
    kept, said = sizes.within(sizes.parse("16,60,64,1k,all"), 60)
    assert kept == (16, 60)
    assert said == (
        "size 64 is left out: there are 60 training rows",
        "size 1,000 is left out: there are 60 training rows",
        "size all is left out: it is 60 rows, which are there already",
    )
    assert sizes.within(sizes.parse("16,all"), 60) == ((16, 60), ())


def test_one_size_is_no_curve() -> None:
    with pytest.raises(ConfigError, match="two sizes or more; size 100 is left out"):
        sizes.within(sizes.parse("16,100"), 60)
