"""Exact duplicates: rows with the same tools that are the same but for case, blanks and the form of characters.

Preferences with the same two answers, and ratings with the same verdict, are duplicates of one another in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from hashlib import blake2b
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from honed.config import Config
from honed.data.curate.pieces import of_each, of_rows
from honed.data.curate.row import Finding, Row
from honed.data.curate.view import Of, View
from honed.data.curate.words import normal, words


class Exact(Config):
    """Settings of the step ``exact``."""

    heldout: bool = Field(default=True, description="whether training rows equal to a held-out row are dropped too")


def rank(row: Row) -> tuple[bool, int, int]:
    """Return by what the best of several duplicates is chosen, the smallest first.

    A row with a verifier is better than one without, then the one whose answer has more words, then the first.
    """
    return (not row.checked, -len(words(row.answer)), row.number)


def key(row: Row) -> bytes:
    """Return 16 bytes that rows share whose turns are the same after normalisation, and their tools."""
    return digest("\x1f".join(f"{turn.role}\x1e{normal(turn.content)}\x1e{turn.calls}" for turn in row.turns), row)


def digest(said: str, row: Row) -> bytes:
    """Return 16 bytes of what is compared of a row, of its tools and of what its answer was rated."""
    if row.tools or row.verdict:
        said += f"\x1d{row.tools}{row.verdict}"
    return blake2b(said.encode(errors="surrogatepass"), digest_size=16).digest()


def exact(view: View, settings: Exact, _say: Callable[[str], None]) -> Iterator[Finding]:
    """Drop all but the best of rows that are equal after normalisation. Memory: some 100 bytes a row."""
    held = dict(chain.from_iterable(view.mapped(of_each(_keyed), "heldout"))) if settings.heldout else {}
    numbers = repeated(view, key, held.keys(), "all")
    judged = dict(chain.from_iterable(view.mapped(of_each(partial(_asked, held)), "judged"))) if held else {}
    best: dict[bytes, tuple[tuple[bool, int, int], int, str]] = {}
    worse: list[tuple[int, str, bytes]] = []
    for row in view.take({*numbers, *judged}).values():
        here = key(row)
        if other := judged.get(row.number) or held.get(here):
            yield _found(row.number, row.id, other, "the held-out row")
            continue
        mine = (rank(row), row.number, row.id)
        kept = best.setdefault(here, mine)
        if kept is not mine:
            best[here], (_, number, id_) = min(kept, mine), max(kept, mine)
            worse.append((number, id_, here))
    for number, id_, here in worse:
        yield _found(number, id_, best[here][2], "row")


def repeated(view: View, key: Callable[[Row], bytes], others: Collection[bytes] = (), of: Of = "train") -> list[int]:
    """Return the numbers of the rows whose 16-byte key another row has, or that is among ``others``, in order."""
    found = list(view.mapped(of_rows(partial(_keys, key)), of))
    keys = np.concatenate([np.frombuffer(some, np.uint64).reshape(-1, 2) for _, some in found] or [_NONE])
    numbers = np.concatenate([np.empty(0, np.int64), *(some for some, _ in found)])
    keys = np.concatenate([keys, np.frombuffer(b"".join(others), np.uint64).reshape(-1, 2)])
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    same = (keys[order][1:] == keys[order][:-1]).all(axis=1)
    alike = np.zeros(len(keys), bool)
    alike[order[1:][same]] = alike[order[:-1][same]] = True
    return [int(number) for number in numbers[alike[: len(numbers)]]]


_NONE = np.empty((0, 2), np.uint64)


def _keys(key: Callable[[Row], bytes], rows: Iterator[Row]) -> tuple[NDArray[np.int64], bytes]:
    pairs = [(row.number, key(row)) for row in rows]
    return np.array([number for number, _ in pairs], np.int64), b"".join([one for _, one in pairs])


def _asked(held: Mapping[bytes, str], row: Row) -> list[tuple[int, str]]:
    """Return number and held-out row of a preference or rating of which an answer, with its prompt, is that row."""
    return [(row.number, held[one]) for one in map(key, row.single()) if one in held][:1]


def _keyed(row: Row) -> list[tuple[bytes, str]]:
    return [(key(row), row.id)]


def _found(number: int, id_: str, other: str, what: str) -> Finding:
    return Finding(number, id_, "exact duplicate", "drop", f"the same as {what} {other} but for case and blanks", other)
