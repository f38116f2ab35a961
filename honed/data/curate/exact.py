"""Exact duplicates: rows that are the same but for case, blanks and the form of characters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b

from pydantic import Field

from honed.config import Config
from honed.data.curate.row import Finding, Row
from honed.data.curate.view import View
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
    """Return 16 bytes that rows share whose turns are the same after normalisation."""
    said = "\x1f".join(f"{turn.role}\x1e{normal(turn.content)}\x1e{turn.calls}" for turn in row.turns)
    return blake2b(said.encode(errors="surrogatepass"), digest_size=16).digest()


def exact(view: View, settings: Exact, _say: Callable[[str], None]) -> Iterator[Finding]:
    """Drop all but the best of rows that are equal after normalisation."""
    held = {key(row): row.id for row in view.heldout()} if settings.heldout else {}
    best: dict[bytes, tuple[tuple[bool, int, int], int, str]] = {}
    worse: list[tuple[int, str, bytes]] = []
    for row in view.rows():
        here = key(row)
        if here in held:
            yield _found(row.number, row.id, held[here], "the held-out row")
            continue
        mine = (rank(row), row.number, row.id)
        kept = best.setdefault(here, mine)
        if kept is not mine:
            best[here], (_, number, id_) = min(kept, mine), max(kept, mine)
            worse.append((number, id_, here))
    for number, id_, here in worse:
        yield _found(number, id_, best[here][2], "row")


def _found(number: int, id_: str, other: str, what: str) -> Finding:
    return Finding(number, id_, "exact duplicate", "drop", f"the same as {what} {other} but for case and blanks", other)
