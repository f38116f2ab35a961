from __future__ import annotations

import pytest

from honed.cli.tables import bytes_, clock, columns, facts, moment, plain, short


def test_columns_are_as_wide_as_their_widest_cell_and_numbers_stand_right() -> None:
    assert columns(["job", "rows"], [["a", 5], ["long", 12345]]) == "job    rows\na         5\nlong  12345"


def test_columns_of_no_rows_are_the_header() -> None:
    assert columns(["job", "state"], []) == "job  state"


def test_facts_are_aligned() -> None:
    assert facts([("a", 1), ("long", "x")]) == "a     1\nlong  x"
    assert facts([]) == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (185, "3:05"), (7385, "2:03:05")]
)
def test_a_duration_is_read_at_a_glance(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (3.21e9, "3.21 GB"), (5e15, "5e+03 TB")]
)
def test_bytes_are_in_powers_of_ten(count: float, text: str) -> None:
    assert bytes_(count) == text


def test_no_moment_is_no_text() -> None:
    assert moment(0.0) == ""
    assert len(moment(1.7e9)) == len("2026-01-01 00:00:00")


def test_a_long_value_is_cut_visibly() -> None:
    assert short("x" * 200, 10) == "x" * 9 + "…"
    assert short([1, 2]) == "[1, 2]"


def test_what_a_terminal_would_obey_is_shown_instead() -> None:
    assert plain("a\x1b]0;title\x07b\r\x9bc\n\td é\u00a0") == "a␛]0;title␇b␍\ufffdc\n\td é\u00a0"
    assert short("\x1b[2J") == "␛[2J"
