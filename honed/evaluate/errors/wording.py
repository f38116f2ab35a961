"""Words and pairs of words that failing prompts have and passing ones lack, or the other way round.

The log-odds ratio of two groups of texts with a prior from both, and its z-score: B. L. Monroe, M. P. Colaresi, K. M.
Quinn, "Fightin' Words: Lexical Feature Selection and Evaluation for Identifying the Content of Political Conflict",
Political Analysis 16 (2008), section 3.5.1. A phrase counts once a prompt, however often that repeats it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from math import exp, log, sqrt

from scipy.special import ndtr, ndtri

from honed.evaluate import stats
from honed.evaluate.errors.clusters import examples
from honed.evaluate.errors.facets import Told, request
from honed.evaluate.stats import LEVEL, Interval
from honed.records import Record

LEAST_PROMPTS = 20
"""Failing prompts, and passing ones, below which nothing is said of words."""
LEAST_COUNT = 6
"""Prompts that a phrase must be in."""
SHOWN = 12
"""Phrases shown for each side."""
_PRIOR = 500.0  # how many words the prior weighs, whatever the number of prompts
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


class Phrase(Record):
    """A phrase, in how many failing and passing prompts it stands, and how its odds differ between the two.

    ``ratio`` is the odds of the failing prompts over those of the passing ones (above 1: of failing prompts), with its
    interval; ``p_adjusted`` is the p-value of its z-score after Holm's step over all phrases that were looked at.
    """

    phrase: str
    failing: int
    passing: int
    ratio: float
    interval: Interval
    z: float
    p_adjusted: float
    examples: tuple[str, ...]


class Wording(Record):
    """The phrases that tell failing from passing prompts, the surest first; ``note`` says why where there are none."""

    failing_prompts: int
    passing_prompts: int
    looked_at: int
    failing: tuple[Phrase, ...]
    passing: tuple[Phrase, ...]
    note: str


def find(told: Sequence[Told]) -> Wording:
    """Return the phrases of one and two words whose odds are shown to differ, before any correction for their number.

    What is shown after Holm's step too has a ``p_adjusted`` below 0.05. Of phrases that stand in the same prompts only
    the longest is given. Of rows with one prompt in several turns the last user message is read.
    """
    failing = [_phrases(request(one.answer)) for one in told if one.failed]
    passing = [_phrases(request(one.answer)) for one in told if not one.failed]
    if min(len(failing), len(passing)) < LEAST_PROMPTS:
        few = f"{len(failing)} prompts fail and {len(passing)} pass"
        return _none(len(failing), len(passing), f"Words are compared from {LEAST_PROMPTS} of each on: {few}.")
    bad, good = (Counter(phrase for one in group for phrase in one) for group in (failing, passing))
    both = bad + good
    kept = sorted(phrase for phrase, count in both.items() if count >= LEAST_COUNT)
    scored = [_score(phrase, bad, good, both) for phrase in kept]
    p_values = [2 * float(ndtr(-abs(one.z))) for one in scored]
    least = float(ndtri((1 + LEVEL) / 2))
    adjusted = [
        one.model_copy(update={"p_adjusted": p_value})
        for one, p_value in zip(scored, stats.holm(p_values), strict=True)
        if abs(one.z) >= least
    ]
    ordered = sorted(adjusted, key=lambda one: (-abs(one.z), -len(one.phrase), one.phrase))
    rows = {one.answer.row: _phrases(request(one.answer)) for one in told if one.failed}
    chosen = [_exemplified(one, rows) for one in _distinct(ordered)]
    more, less = ([one for one in chosen if (one.z > 0) == up][:SHOWN] for up in (True, False))
    note = "" if chosen else "No word is shown to tell failing prompts from passing ones."
    return Wording(
        failing_prompts=len(failing),
        passing_prompts=len(passing),
        looked_at=len(kept),
        failing=tuple(more),
        passing=tuple(less),
        note=note,
    )


def _none(failing: int, passing: int, note: str) -> Wording:
    return Wording(failing_prompts=failing, passing_prompts=passing, looked_at=0, failing=(), passing=(), note=note)


def _phrases(text: str) -> set[str]:
    """The words of a text and its pairs of neighbours, in lower case; a number is any number."""
    words = ["0" if word.isdigit() else word for word in _WORD.findall(text.lower())]
    return {*words, *(f"{one} {other}" for one, other in pairwise(words))}


def _score(phrase: str, bad: Counter[str], good: Counter[str], both: Counter[str]) -> Phrase:
    all_bad, all_good = bad.total(), good.total()
    prior = _PRIOR * both[phrase] / (all_bad + all_good)
    one = (bad[phrase] + prior) / (all_bad + _PRIOR - bad[phrase] - prior)
    other = (good[phrase] + prior) / (all_good + _PRIOR - good[phrase] - prior)
    odds = log(one) - log(other)
    spread = sqrt(1 / (bad[phrase] + prior) + 1 / (good[phrase] + prior))
    arm = float(ndtri((1 + LEVEL) / 2)) * spread
    return Phrase(
        phrase=phrase,
        failing=bad[phrase],
        passing=good[phrase],
        ratio=exp(odds),
        interval=Interval(exp(odds - arm), exp(odds + arm)),
        z=odds / spread,
        p_adjusted=1.0,
        examples=(),
    )


def _distinct(ordered: Sequence[Phrase]) -> list[Phrase]:
    """Leave out a phrase whose counts are those of a longer or shorter one that was taken, and that shares a word."""
    taken: list[Phrase] = []
    for one in ordered:
        same = [other for other in taken if (one.failing, one.passing) == (other.failing, other.passing)]
        if not any(set(one.phrase.split()) & set(other.phrase.split()) for other in same):
            taken.append(one)
    return taken


def _exemplified(phrase: Phrase, rows: dict[str, set[str]]) -> Phrase:
    return phrase.model_copy(
        update={"examples": examples(row for row, found in rows.items() if phrase.phrase in found)}
    )
