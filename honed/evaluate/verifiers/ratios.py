"""IFBench: shares: stop words, kinds of sentences, overlap with a text, sentences of equal length."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from pydantic import Field

from honed.evaluate.verifiers import vocabulary
from honed.evaluate.verifiers.instruction import Instruction, Params, fixed, plain, said
from honed.evaluate.verifiers.keywords import Word
from honed.evaluate.verifiers.stops import divided
from honed.evaluate.verifiers.tokens import words
from honed.evaluate.verifiers.vocabulary import among
from honed.records import Score

_TOLERANCE = 2


class Percentage(Params):
    """A share in percent, at most."""

    percentage: float = Field(ge=0, le=100)


class Overlap(Params):
    """The share in percent of the answer's trigrams that the reference has, two points more or less."""

    reference_text: Word
    percentage: float = Field(ge=0, le=100)


def _stop_words(params: Percentage, answer: str) -> Score:
    found = words(answer)
    if not found:
        return said(False, "there are no words")
    share = 100 * (sum(word.lower() in among("stop_words") for word in found) / len(found))
    return said(share <= params.percentage, f"{share:.1f} % are stop words, of at most {params.percentage:g} %")


def _overlap(params: Overlap, answer: str) -> Score:
    mine = _trigrams(answer)
    if not mine:
        return said(False, "the answer is too short to have trigrams")
    share = 100 * (len(mine & _trigrams(params.reference_text)) / len(mine))
    fact = f"{share:.1f} % of the trigrams are the reference's, and {params.percentage:g} % are asked for"
    return said(params.percentage - _TOLERANCE <= share <= params.percentage + _TOLERANCE, fact)


def _trigrams(text: str) -> set[str]:
    """Return the runs of three characters, which is what the benchmark compared when it was published."""
    return {text[at : at + 3] for at in range(len(text) - 2)}


def _endings(answer: str) -> tuple[int, int, int]:
    found = divided(answer)
    said_, asked, cried = (sum(sentence.endswith(mark) for sentence in found) for mark in ".?!")
    return said_, asked, cried


def _types(answer: str) -> Score:
    told, asked, _ = _endings(answer)
    return said(told == 2 * asked, f"{told} sentences end in a period and {asked} in a question mark")


def _balance(answer: str) -> Score:
    told, asked, cried = _endings(answer)
    fact = f"{told} sentences end in a period, {asked} in a question mark, {cried} in an exclamation mark"
    return said(told == asked == cried, fact)


def _lengths(answer: str) -> Score:
    lengths = [len(sentence.strip()) for sentence in divided(answer)]
    if len(lengths) != 3:
        return said(False, f"there are {len(lengths)} sentences, and 3 are asked for")
    same = all(one == other for one, other in pairwise(lengths))
    return said(same, f"the sentences have {', '.join(map(str, lengths))} characters")


def _draw_overlap(rng: Random, request: str) -> Overlap:
    return Overlap(reference_text=vocabulary.request_or_own(rng, request), percentage=rng.randint(10, 60))


RATIOS = (
    Instruction(
        "ratio:stop_words",
        Percentage,
        _stop_words,
        lambda params: f"At most {params.percentage:g} % of your words may be stop words.",
        plain(lambda rng: Percentage(percentage=rng.randint(20, 55))),
    ),
    Instruction(
        "ratio:overlap",
        Overlap,
        _overlap,
        lambda params: (
            f"{params.percentage:g} % of your trigrams, two points more or less, must occur in this text: "
            f"{params.reference_text}"
        ),
        _draw_overlap,
    ),
    fixed("ratio:sentence_type", _types, "Write two statements for each question."),
    fixed("ratio:sentence_balance", _balance, "Write as many statements as questions, and as many exclamations."),
    fixed(
        "ratio:sentence_words",
        _lengths,
        "Answer in three sentences that have the same number of characters and no word in common.",
    ),
)
