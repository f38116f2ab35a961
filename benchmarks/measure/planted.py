"""Rows with known duplicates, parts of evaluation rows, suspicions and personal data, so that finds can be counted."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from measure.personal import LOOK_ALIKES, NAMES, PERSONAL, look_alikes, personal
from measure.sentences import Sentences
from measure.suspicious import SUSPICIOUS, Row

_UNENDED = 0.02
"""Answers whose last line has no mark at its end: in public sets 0.2 to 1.3 % of them look cut."""
_SHARES = (("near", 0.05), ("exact", 0.02), ("grams", 0.01), ("suspicious", 0.03), ("personal", 0.03), ("alike", 0.01))


@dataclass
class Planted:
    """Rows as (prompt, answer), and what was planted in them, by place."""

    rows: list[Row] = field(default_factory=list)
    near: list[tuple[int, int]] = field(default_factory=list)
    exact: list[tuple[int, int]] = field(default_factory=list)
    grams: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Place of a row: words planted in a row, and the evaluation row that they are from."""
    suspicious: dict[int, str] = field(default_factory=dict)
    """Place of a row: the warning that it should get."""
    personal: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    """Place of a row: the kind, the sentence and what stands in it that is personal."""
    alike: dict[int, str] = field(default_factory=dict)
    """Place of a row: the kind that something in it is easily taken for."""

    def holds(self, place: int) -> bool:
        """Tell whether personal data, or what looks like it, was planted in a row."""
        return place in self.personal or place in self.alike


def drawn(rows: int, evaluation: Sequence[str], pool: Sentences, seed: int = 0) -> Planted:
    """Return ``rows`` different rows of the pool's sentences, with what is planted in them (``_SHARES``)."""
    draw, planted = random.Random(seed), Planted()
    making = _Making(draw, evaluation, pool)
    seen: set[int] = set()
    while len(planted.rows) < rows:
        at, kind = len(planted.rows), _kind(draw)
        if kind in ("near", "exact") and not making.plain:
            kind = "plain"
        row, what = making.row(kind, planted.rows)
        if (key := hash(row)) in seen:
            continue
        seen.add(key)
        planted.rows.append(row)
        if kind in ("near", "exact"):
            getattr(planted, kind).append((what, at))
        elif kind == "plain":
            making.plain.append(at)
        else:
            getattr(planted, kind)[at] = what
    return planted


class _Making:
    """Rows of each kind, one after the other, and what there is to know of them."""

    def __init__(self, draw: random.Random, evaluation: Sequence[str], pool: Sentences) -> None:
        self._draw, self._evaluation, self._pool = draw, evaluation, pool
        self._suspicious = cycle(SUSPICIOUS.items())
        self._personal, self._alike = _in_turn(PERSONAL, personal), _in_turn(LOOK_ALIKES, look_alikes)
        self.plain: list[int] = []
        """Places of rows with nothing planted in them and without a copy."""

    def row(self, kind: str, rows: Sequence[Row]) -> tuple[Row, Any]:
        """Return a row of ``kind``, and what was planted in it, as ``Planted`` keeps it; ``rows`` are those before."""
        if kind in ("near", "exact"):
            return self._copy(kind, rows)
        draw, pool = self._draw, self._pool
        prompt, answer = self._text(pool.asked, 8, 24), self._text(pool.said, 18, 48)
        if kind == "grams":
            length, source = draw.choice((8, 13)), draw.randrange(len(self._evaluation))
            said = self._evaluation[source].split()
            start = draw.randrange(len(said) - length + 1)
            answer = f"{answer} {' '.join(said[start : start + length])} {draw.choice(pool.said)}"
            return (prompt, answer), (length, source)
        if kind == "suspicious":
            which, make = next(self._suspicious)
            return make(draw, prompt, answer), which
        if kind == "personal":
            which, (text, value) = next(self._personal)
            return _beside(draw, prompt, answer, text), (which, text, value)
        if kind == "alike":
            which, (text, _) = next(self._alike)
            return _beside(draw, prompt, answer, text), which
        if pool.unended and draw.random() < _UNENDED:
            answer = f"{answer}\n{draw.choice(pool.unended)}"
        return (prompt, answer), None

    def _copy(self, kind: str, rows: Sequence[Row]) -> tuple[Row, int]:
        """Return a copy of a plain row that has none yet, and its place."""
        at = self._draw.randrange(len(self.plain))
        self.plain[at], self.plain[-1] = self.plain[-1], self.plain[at]
        first = self.plain.pop()
        prompt, answer = rows[first]
        if kind == "exact":
            return (f"{prompt.upper()} ", f"{answer.upper()} "), first
        return (_edited(self._draw, prompt, self._pool.words), _edited(self._draw, answer, self._pool.words)), first

    def _text(self, pool: Sequence[str], least: int, most: int) -> str:
        """Return two sentences of the pool, since one would come again, and more until they have so many words."""
        said = [self._draw.choice(pool), self._draw.choice(pool)]
        wanted = self._draw.randrange(least, most + 1) - sum(text.count(" ") + 1 for text in said)
        while wanted > 0:
            said.append(self._draw.choice(pool))
            wanted -= said[-1].count(" ") + 1
        return " ".join(said)


def evaluation_prompts(count: int, seed: int = 1) -> list[str]:
    """Return prompts of an evaluation set of its own, of 20 to 40 words."""
    draw = random.Random(seed)
    return [
        " ".join(f"{draw.choice(NAMES)}{draw.randrange(1000)}" for _ in range(draw.randrange(20, 41)))
        for _ in range(count)
    ]


def _kind(draw: random.Random) -> str:
    left = draw.random()
    for name, share in _SHARES:
        left -= share
        if left < 0:
            return name
    return "plain"


def _in_turn(
    kinds: Iterable[str], sentences: Callable[[str, int], Iterator[tuple[str, str]]]
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield a kind and a sentence with one of it, of one kind after the other, for as long as somebody asks."""
    streams = [(kind, sentences(kind, sys.maxsize)) for kind in kinds]
    for kind, stream in cycle(streams):
        yield kind, next(stream)


def _beside(draw: random.Random, prompt: str, answer: str, text: str) -> Row:
    """Return a prompt and an answer with a sentence more, at one of their ends."""
    place = draw.randrange(3)
    if place == 0:
        return f"{prompt} {text}", answer
    return prompt, f"{answer} {text}" if place == 1 else f"{text} {answer}"


def _edited(draw: random.Random, text: str, pool: Sequence[str]) -> str:
    """Replace one word, or up to one in fifteen: the Jaccard of runs of three words is then 0.65 to 0.97.

    Numbers stay, since rows with different ones are no duplicates.
    """
    said = text.split(" ")
    places = [at for at, word in enumerate(said) if word.isalpha()]
    for at in draw.sample(places, min(len(places), draw.randint(1, max(1, len(said) // 15)))):
        said[at] = draw.choice(pool)
    return " ".join(said)
