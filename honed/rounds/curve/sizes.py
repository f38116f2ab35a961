"""The sizes of a learning curve: ``16,64,1k,all`` as numbers of rows that rise, none larger than the data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from honed.errors import ConfigError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([km]?)")
_UNIT = {"": 1, "k": 1_000, "m": 1_000_000}
_HINT = "Write sizes that rise, such as 16,64,256,1k,all."

Size = int | None
"""A number of rows; None is all that there are."""


def parse(text: str) -> tuple[Size, ...]:
    """Return the sizes of ``16,64,1k,2.5k,1m,all``. Raises ``ConfigError`` unless each is larger than the last."""
    words = [word.strip().lower() for word in text.split(",")]
    sizes = [_size(word) for word in words]
    for before, size, word in zip(sizes, sizes[1:], words[1:], strict=False):
        if before is None or (size is not None and size <= before):
            last = "all" if before is None else f"{before:,}"
            raise ConfigError(f"--curve: {word!r} comes after {last}", _HINT)
    return tuple(sizes)


def within(sizes: Sequence[Size], count: int, unit: str = "rows") -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the sizes that ``count`` rows allow, and a sentence for each that is dropped.

    Raises ``ConfigError`` if fewer than two remain: one size is no curve.
    """
    kept: list[int] = []
    said: list[str] = []
    for size in sizes:
        rows = count if size is None else size
        name = "all" if size is None else f"{size:,}"
        if rows > count:
            said.append(f"size {name} is left out: there are {count:,} training {unit}")
        elif rows in kept:
            said.append(f"size {name} is left out: it is {rows:,} {unit}, which are there already")
        else:
            kept.append(rows)
    if len(kept) < 2:
        why = f"; {'; '.join(said)}" if said else ""
        raise ConfigError(f"--curve: a curve takes two sizes or more{why}", f"{_HINT} There are {count:,} {unit}.")
    return tuple(kept), tuple(said)


def _size(word: str) -> Size:
    if word == "all":
        return None
    found = _SIZE.fullmatch(word)
    rows = Fraction(found[1]) * _UNIT[found[2]] if found else Fraction(0)
    if rows < 1 or rows.denominator != 1:
        raise ConfigError(f"--curve: {word!r} is no number of rows", _HINT)
    return int(rows)
