"""The verifiers ``f1`` and ``rouge``: how far an answer is the one expected, from 0 to 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import Field

from honed.evaluate.scorers.normal import normalised, tokens
from honed.evaluate.scorers.params import Params, Texts, read
from honed.records import Message, Score


class Overlap(Params):
    """The expected ``answers``, the nearest of which counts, and the ``least`` value that passes."""

    answers: Texts = Field(min_length=1)
    least: float = Field(default=0.5, gt=0, le=1)


def f1(params: Mapping[str, Any], prompt: Sequence[Message], answer: str) -> Score:  # noqa: ARG001
    """Judge by the words that both share, whatever their order: the harmonic mean of precision and recall.

    P. Rajpurkar and others, "SQuAD" (2016), section 6.1. Never raises on any answer.
    """
    return _graded(read(Overlap, params, "f1"), answer, token_f1, "token F1")


def rouge(params: Mapping[str, Any], prompt: Sequence[Message], answer: str) -> Score:  # noqa: ARG001
    """Judge by the longest common subsequence of words: ROUGE-L, as its F measure with equal weights.

    C.-Y. Lin, "ROUGE: A Package for Automatic Evaluation of Summaries" (2004), section 3.1, without stemming. Never
    raises on any answer.
    """
    return _graded(read(Overlap, params, "rouge"), answer, rouge_l, "ROUGE-L")


def token_f1(expected: str, answer: str) -> float:
    """Return the F1 of the words of two texts after normalising; from 0 to 1."""
    wanted, given = Counter(normalised(expected).split()), Counter(normalised(answer).split())
    return _f(sum((wanted & given).values()), wanted.total(), given.total())


def rouge_l(expected: str, answer: str) -> float:
    """Return the F measure of the longest common subsequence of the words of two texts; from 0 to 1."""
    wanted, given = tokens(expected), tokens(answer)
    return _f(common(wanted, given), len(wanted), len(given))


def common(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, a bit for each word of ``first``.

    H. Hyyrö, "Bit-parallel LCS-length computation revisited", AWOCA 2004.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(first)) - 1
    row = full
    for word in second:
        hits = row & places.get(word, 0)
        row = ((row + hits) | (row - hits)) & full
    return len(first) - row.bit_count()


def _f(shared: int, wanted: int, given: int) -> float:
    return 2 * shared / (wanted + given) if shared else 0.0


def _graded(asked: Overlap, answer: str, measure: Callable[[str, str], float], name: str) -> Score:
    value = max(measure(expected, answer) for expected in asked.answers)
    return Score(passed=value >= asked.least, value=value, why=f"Its {name} is {value:.2f}; {asked.least:g} passes.")
