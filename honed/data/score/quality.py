"""Quality as far as the texts themselves show it, corrected for length; no model, no opinion, a rule that is written.

Four signs, each from 0 to 1, and their mean:

sound      1, or 0 if anything is suspicious about the row (``data.suspect``: cut, refusing, a placeholder left in ...)
varied     the share of the answer's runs of three words that it doesn't repeat
on topic   how much of the prompt's words, weighted by how rare they are among the rows, the answer takes up; as a rank
specific   how rare the answer's different words are on average; as a rank

Most signs, and most judges, like long answers better. So what is given is the residual after least squares on the
logarithm of the answer's words and its square: how much better a row is than rows with answers of its length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from honed.data.curate.row import Row
from honed.data.curate.words import words
from honed.data.shapes import turns
from honed.data.suspect import suspicions

Floats = NDArray[np.float64]

SIGNS = ("sound", "varied", "on topic", "specific")
_HARMLESS = "stray whitespace"


def lengths(rows: Sequence[Row]) -> Floats:
    """Return the number of words of each row's final answer."""
    return np.array([len(words(row.answer)) for row in rows], np.float64)


def signs(rows: Sequence[Row]) -> Floats:
    """Return the four signs of each row, shape (rows, 4), in the order of ``SIGNS``."""
    asked = [words(" ".join(row.prompts())) for row in rows]
    said = [words(row.answer) for row in rows]
    counts: Counter[str] = Counter()
    for question, answer in zip(asked, said, strict=True):
        counts.update({*question, *answer})
    rare = {word: float(np.log((1 + len(rows)) / (1 + count))) for word, count in counts.items()}
    found = np.zeros((len(rows), len(SIGNS)))
    for at, row in enumerate(rows):
        found[at] = (_sound(row), _varied(said[at]), _on_topic(asked[at], said[at], rare), _specific(said[at], rare))
    for column in (2, 3):
        found[:, column] = ranked(found[:, column])
    return found


def quality(rows: Sequence[Row]) -> Floats:
    """Return each row's quality: the mean of the signs, less what the length of its answer explains."""
    return corrected(signs(rows).mean(axis=1), lengths(rows))


def corrected(values: Floats, length: Floats) -> Floats:
    """Return values less their least-squares fit on the logarithm of ``length`` (words, 0 allowed) and its square."""
    if not len(values):
        return values
    log = np.log1p(length)
    design = np.stack([np.ones_like(log), log, log * log], axis=1)
    found: Floats = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return found


def ranked(values: Floats) -> Floats:
    """Return the share of values that each is above, from 0 to 1; equal ones share a rank."""
    if len(values) < 2:
        return np.full(len(values), 0.5)
    found: Floats = (rankdata(values) - 1) / (len(values) - 1)
    return found


def _sound(row: Row) -> bool:
    read = [turns.Turn(turns.ROLES[turn.role], turn.content, ()) for turn in row.turns]
    return all(one.kind == _HARMLESS for one in suspicions(read))


def _varied(said: Sequence[str]) -> float:
    runs = list(zip(said, said[1:], said[2:], strict=False))
    return len(set(runs)) / len(runs) if runs else 1.0


def _on_topic(asked: Sequence[str], said: Sequence[str], rare: dict[str, float]) -> float:
    weight, answered = {word: rare[word] for word in set(asked)}, set(said)
    whole = sum(weight.values())
    return sum(value for word, value in weight.items() if word in answered) / whole if whole else 0.0


def _specific(said: Sequence[str], rare: dict[str, float]) -> float:
    kinds = set(said)
    return sum(rare[word] for word in kinds) / len(kinds) if kinds else 0.0
