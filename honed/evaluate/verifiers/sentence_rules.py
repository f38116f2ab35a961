"""IFBench: what each sentence must hold, beside the one before it."""

from __future__ import annotations

import re
from itertools import pairwise
from random import Random

from pydantic import Field

from honed.evaluate.verifiers import vocabulary
from honed.evaluate.verifiers.counts import ordinal
from honed.evaluate.verifiers.instruction import Instruction, Params, fixed, plain, said
from honed.evaluate.verifiers.keywords import Word
from honed.evaluate.verifiers.stops import divided
from honed.evaluate.verifiers.tokens import EDGES, bare_words
from honed.records import Score


class InSentence(Params):
    """A word, and the number of the sentence (from 1) that must hold it."""

    word: Word
    N: int = Field(ge=1)


class Increment(Params):
    """How many words each sentence has more than the one before it."""

    small_n: int = Field(ge=0)


def _keyword(params: InSentence, answer: str) -> Score:
    found = divided(answer)
    if len(found) < params.N:
        return said(False, f"there are {len(found)} sentences, and the {ordinal(params.N)} is asked for")
    holds = re.search(rf"\b{re.escape(params.word)}\b", found[params.N - 1], re.IGNORECASE) is not None
    return said(holds, f"the {ordinal(params.N)} sentence {'has' if holds else 'lacks'} {params.word!r}")


def _increment(params: Increment, answer: str) -> Score:
    lengths = [len(bare_words(sentence)) for sentence in divided(answer)]
    for place, (before, after) in enumerate(pairwise(lengths), start=2):
        if after != before + params.small_n:
            fact = f"the {ordinal(place)} sentence has {after} words, the one before {before}"
            return said(False, f"{fact}, and {params.small_n} more are asked for")
    return said(True, f"each sentence has {params.small_n} words more than the one before")


def _alliteration(answer: str) -> Score:
    lengths = [_alliterative(sentence) for sentence in divided(answer)]
    rises = all(before < after for before, after in pairwise(lengths))
    return said(rises, f"the sentences have {', '.join(map(str, lengths))} alliterative words")


def _alliterative(sentence: str) -> int:
    """Count the words that share their first letter with a neighbour; each run counts whole."""
    initials = [word[0] for raw in sentence.lower().split() if (word := raw.lstrip(EDGES))]
    same = [one == other for one, other in pairwise(initials)]
    runs = sum(here and not before for before, here in pairwise([False, *same]))
    return sum(same) + runs


def _draw_keyword(rng: Random) -> InSentence:
    return InSentence(word=vocabulary.keyword(rng), N=rng.randint(1, 6))


SENTENCES = (
    Instruction(
        "sentence:keyword",
        InSentence,
        _keyword,
        lambda params: f'Use the word "{params.word}" in the {ordinal(params.N)} sentence.',
        plain(_draw_keyword),
    ),
    Instruction(
        "sentence:increment",
        Increment,
        _increment,
        lambda params: f"Each sentence must have exactly {params.small_n} words more than the one before it.",
        plain(lambda rng: Increment(small_n=rng.randint(1, 4))),
    ),
    fixed(
        "sentence:alliteration_increment",
        _alliteration,
        "Each sentence must have a longer run of words with the same first letter than the one before it.",
    ),
)
