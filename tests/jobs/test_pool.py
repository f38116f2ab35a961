"""Pieces in several processes: results in order, few under way, and no process left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from honed.jobs import pool


def slow_first(number: int) -> tuple[int, int]:
    time.sleep(0.05 if number % 3 == 0 else 0)
    return number * number, os.getpid()


def broken(number: int) -> int:
    return 1 // (number - 3)


def test_results_come_in_order_from_several_processes() -> None:
    found = list(pool.ordered(slow_first, range(20), 2))
    assert [square for square, _ in found] == [number * number for number in range(20)]
    assert os.getpid() not in {process for _, process in found}
    assert [square for square, _ in pool.ordered(slow_first, range(5), 1)] == [0, 1, 4, 9, 16]


def test_no_more_pieces_are_taken_than_are_under_way() -> None:
    taken: list[int] = []

    def pieces() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    stream = pool.ordered(slow_first, pieces(), 2)
    next(stream)
    assert len(taken) <= 2 * 2 + 1
    stream.close()  # type: ignore[attr-defined]


def test_what_a_piece_raises_is_raised_here_and_the_processes_end() -> None:
    with pytest.raises(ZeroDivisionError):
        list(pool.ordered(broken, range(100), 2))
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    deadline = time.monotonic() + 20
    while b"spawn_main" in b"".join(
        (Path("/proc") / child / "cmdline").read_bytes()
        for child in children.read_text().split()
        if (Path("/proc") / child / "cmdline").exists()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
