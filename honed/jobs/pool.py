"""A function over a stream of pieces in several processes: results in order, a bounded number under way."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from typing import Any, TypeVar

from honed.jobs.worker import end_with

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 2
"""Pieces under way for each process: one in work, one waiting."""


def ordered(function: Callable[[T], R], pieces: Iterable[T], processes: int) -> Iterator[R]:
    """Yield ``function(piece)`` for each piece, in order; in this process if ``processes`` is 1.

    Function, pieces and results travel between processes, which start fresh and end with this one, however it ends.
    """
    if processes <= 1:
        yield from map(function, pieces)
        return
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=fresh, initializer=_begin, initargs=(os.getpid(), function)) as pool:
        stream = iter(pieces)
        under_way: deque[Future[R]] = deque(pool.submit(_call, one) for one in islice(stream, processes * _AHEAD))
        try:
            while under_way:
                result = under_way.popleft().result()
                under_way.extend(pool.submit(_call, one) for one in islice(stream, 1))
                yield result
        except BaseException:  # whoever stops early doesn't wait for what is under way
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_given: list[Callable[[Any], Any]] = []
"""What a process of a pool was started for: sent to it once, however large it is and however many pieces there are."""


def _call(piece: Any) -> Any:
    return _given[-1](piece)


def _begin(parent: int, function: Callable[[Any], Any]) -> None:
    """Leave Ctrl-C to the parent, and end when it is gone: a killed parent can't tell its children."""
    _given.append(function)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)
