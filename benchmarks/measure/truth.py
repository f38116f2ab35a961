"""What is alike, worked out a second time without anything of honed's, and rows by the ids that honed gives them."""

from __future__ import annotations

import unicodedata

from honed.data.curate.near import Near
from honed.records import Message, turns_id
from measure.suspicious import Row

_MARKS = str.maketrans(dict.fromkeys('.,;:!?"()[]{}\u201c\u201d\u201e\u00ab\u00bb', " "))


def row_id(row: Row) -> str:
    """Return the id of a prompt and its answer."""
    return turns_id((Message(role="user", content=row[0]), Message(role="assistant", content=row[1])))


def word_runs(text: str) -> set[tuple[str, ...]]:
    """Return the runs of three words, without case and punctuation."""
    said = unicodedata.normalize("NFKC", text).casefold().translate(_MARKS).split()
    return {tuple(said[at : at + 3]) for at in range(max(1, len(said) - 2))}


def alike(one: str, other: str) -> float:
    """Return the share of runs that two texts have in common."""
    left, right = word_runs(one), word_runs(other)
    return len(left & right) / len(left | right)


def are_near(one: Row, other: Row) -> bool:
    """Tell near duplicates by the definition of the step ``near``, numbers aside."""
    settings = Near()
    whole = alike("\n".join(one), "\n".join(other)) >= settings.threshold
    return whole and alike(one[1], other[1]) >= settings.answers
