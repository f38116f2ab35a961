"""IFEval: words and letters that must occur, so many times, or not at all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from honed.evaluate.verifiers import vocabulary
from honed.evaluate.verifiers.instruction import Instruction, Params, plain, said
from honed.records import Score

Relation = Literal["at least", "less than"]
RELATIONS: tuple[Relation, ...] = ("at least", "less than")
Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Words = Annotated[tuple[Word, ...], Field(min_length=1)]


def holds(count: int, relation: Relation, limit: int) -> bool:
    """Say whether ``count`` is at least, or less than, ``limit``."""
    return count < limit if relation == "less than" else count >= limit


def quoted(texts: Sequence[str]) -> str:
    """Return texts in quotation marks, as an English list."""
    marked = [f'"{text}"' for text in texts]
    return marked[0] if len(marked) == 1 else f"{', '.join(marked[:-1])} and {marked[-1]}"


def times(count: int) -> str:
    """Return ``once``, ``twice`` or ``N times``."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


class Existence(Params):
    """Words that must occur, whatever their case, also inside of longer words."""

    keywords: Words


class Frequency(Params):
    """How often a word must occur, whatever its case, also inside of longer words."""

    keyword: Word
    frequency: int = Field(ge=0)
    relation: Relation


class Forbidden(Params):
    """Words that must not occur as words of their own, whatever their case."""

    forbidden_words: Words


class Letter(Params):
    """How often a character must occur, whatever its case."""

    letter: str = Field(min_length=1, max_length=1)
    let_frequency: int = Field(ge=0)
    let_relation: Relation


def _count(word: str, answer: str) -> int:
    return len(re.findall(re.escape(word), answer, re.IGNORECASE))


def _existence(params: Existence, answer: str) -> Score:
    missing = [word for word in params.keywords if not _count(word, answer)]
    return said(not missing, f"the answer lacks {quoted(missing)}" if missing else "every keyword occurs")


def _frequency(params: Frequency, answer: str) -> Score:
    count = _count(params.keyword, answer)
    fact = f"{params.keyword!r} occurs {times(count)}, and {params.relation} {params.frequency} is asked for"
    return said(holds(count, params.relation, params.frequency), fact)


def _forbidden(params: Forbidden, answer: str) -> Score:
    used = [word for word in params.forbidden_words if re.search(rf"\b{re.escape(word)}\b", answer, re.IGNORECASE)]
    return said(not used, f"the answer uses {quoted(used)}" if used else "no forbidden word occurs")


def _letter(params: Letter, answer: str) -> Score:
    count = answer.lower().count(params.letter.lower())
    fact = f"{params.letter!r} occurs {times(count)}, and {params.let_relation} {params.let_frequency} is asked for"
    return said(holds(count, params.let_relation, params.let_frequency), fact)


def _draw_frequency(rng: Random) -> Frequency:
    word = vocabulary.keyword(rng)
    return Frequency(keyword=word, frequency=rng.randint(1, 4), relation=rng.choice(RELATIONS))


def _draw_letter(rng: Random) -> Letter:
    letter, relation = rng.choice("abcdefghijklmnopqrstuvwxyz"), rng.choice(RELATIONS)
    return Letter(letter=letter, let_frequency=rng.randint(2, 20), let_relation=relation)


KEYWORDS = (
    Instruction(
        "keywords:existence",
        Existence,
        _existence,
        lambda params: f"Use the words {quoted(params.keywords)} in your answer.",
        plain(lambda rng: Existence(keywords=tuple(vocabulary.keywords(rng, rng.randint(1, 3))))),
    ),
    Instruction(
        "keywords:frequency",
        Frequency,
        _frequency,
        lambda params: f'The word "{params.keyword}" must occur {params.relation} {params.frequency} times.',
        plain(_draw_frequency),
    ),
    Instruction(
        "keywords:forbidden_words",
        Forbidden,
        _forbidden,
        lambda params: f"Do without the words {quoted(params.forbidden_words)}.",
        plain(lambda rng: Forbidden(forbidden_words=tuple(vocabulary.keywords(rng, rng.randint(1, 3))))),
    ),
    Instruction(
        "keywords:letter_frequency",
        Letter,
        _letter,
        lambda params: f'The letter "{params.letter}" must occur {params.let_relation} {params.let_frequency} times.',
        plain(_draw_letter),
    ),
)
