"""The form of a written suite: a row as the file holds it, and the suite with what its manifest says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Row = Mapping[str, Any]


class Written(NamedTuple):
    """A suite of our own: its name, its title, the longest answer in tokens that it asks for, and its rows."""

    name: str
    title: str
    max_tokens: int
    rows: Callable[[], Sequence[Row]]


def row(
    name: str,
    prompt: str | Sequence[str],
    check: tuple[str, Mapping[str, Any]],
    tags: Mapping[str, str],
    ideal: str = "",
) -> Row:
    """Return a row; ``prompt`` is what the user says, or turns that begin and end with the user's."""
    turns: Any = prompt
    if not isinstance(prompt, str):
        turns = [{"role": "assistant" if place % 2 else "user", "content": text} for place, text in enumerate(prompt)]
    return {
        "id": name,
        "prompt": turns,
        "check": {"verifier": check[0], "params": dict(check[1])},
        "tags": dict(tags),
        "ideal": ideal,
    }
