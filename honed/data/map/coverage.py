"""What a map says: the regions of a dataset's instructions, what else they are like, what is thin, what to collect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from honed.records import Record

FILE = "map.json"


class Typical(Record):
    """A row that stands for its region."""

    row: str
    prompt: str


class Part(Record):
    """Some of the rows: how many, their share of all, their share of the target's, and why they are thin, or ""."""

    name: str
    rows: int
    share: float
    target_share: float | None = None
    thin: str = ""


class Region(Record):
    """A region of the map. ``name`` are its most distinctive words; ``kinds`` its most frequent kinds of task."""

    part: Part
    typical: tuple[Typical, ...]
    kinds: tuple[tuple[str, int], ...]
    answer_words: float
    x: float
    y: float


class Wanted(Record):
    """What to collect next: about how many rows of what, said in a sentence, and rows of this dataset that are like it.

    ``rows`` is None where no number follows from the rule.
    """

    about: Literal["region", "kind", "length", "language", "audience", "pair"]
    name: str
    have: int
    rows: int | None
    sentence: str
    like: tuple[str, ...] = ()


class Coverage(Record):
    """``map.json``. ``read_by`` is the model or "words"; ``kinds_by`` the tag, or "verb" for the rule of ``kinds``.

    Shares are of the training rows; ``heldout`` rows aren't looked at. ``prompt_words`` and ``answer_words`` are their
    10, 50 and 90 % quantiles. ``collect`` begins with what is missing most.
    """

    dataset: str
    rows: int
    read_by: str
    target: str | None
    target_rows: int
    regions: tuple[Region, ...]
    kinds_by: str
    kinds: tuple[Part, ...]
    objects: Mapping[str, tuple[tuple[str, int], ...]]
    prompt_words: tuple[float, float, float]
    answer_words: tuple[float, float, float]
    answers: tuple[Part, ...]
    languages: tuple[Part, ...]
    audiences: tuple[Part, ...]
    headline: str
    collect: tuple[Wanted, ...]
    page: str
    seconds: float = 0.0
    peak_rss_bytes: int = 0
