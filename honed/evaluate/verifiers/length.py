"""IFEval: how many words, sentences and paragraphs."""

from __future__ import annotations

import re
from random import Random

from pydantic import Field, model_validator

from honed.evaluate.verifiers import vocabulary
from honed.evaluate.verifiers.instruction import Instruction, Params, plain, said
from honed.evaluate.verifiers.keywords import RELATIONS, Relation, Word, holds
from honed.evaluate.verifiers.sentences import sentences
from honed.evaluate.verifiers.tokens import words
from honed.records import Score


class WordCount(Params):
    """How many words (runs of letters and digits)."""

    num_words: int = Field(ge=0)
    relation: Relation


class SentenceCount(Params):
    """How many sentences."""

    num_sentences: int = Field(ge=0)
    relation: Relation


class ParagraphCount(Params):
    """How many paragraphs, with *** between them."""

    num_paragraphs: int = Field(ge=1)


class FirstWord(Params):
    """How many paragraphs, with an empty line between them, and the word that one of them (from 1) starts with."""

    num_paragraphs: int = Field(ge=1)
    nth_paragraph: int = Field(ge=1)
    first_word: Word

    @model_validator(mode="after")
    def _within(self) -> FirstWord:
        if self.nth_paragraph > self.num_paragraphs:
            raise ValueError(f"there is no paragraph {self.nth_paragraph} among {self.num_paragraphs}")
        return self


def _words(params: WordCount, answer: str) -> Score:
    count = len(words(answer))
    fact = f"the answer has {count} words, and {params.relation} {params.num_words} are asked for"
    return said(holds(count, params.relation, params.num_words), fact)


def _sentences(params: SentenceCount, answer: str) -> Score:
    count = len(sentences(answer))
    fact = f"the answer has {count} sentences, and {params.relation} {params.num_sentences} are asked for"
    return said(holds(count, params.relation, params.num_sentences), fact)


def _paragraphs(params: ParagraphCount, answer: str) -> Score:
    parts = [part.strip() for part in re.split(r"\s?\*\*\*\s?", answer)]
    if not all(parts[1:-1]):
        return said(False, "there is nothing between two dividers ***")
    count = len([part for part in parts if part])
    fact = f"the answer has {count} paragraphs divided by ***, and {params.num_paragraphs} are asked for"
    return said(count == params.num_paragraphs, fact)


def _first_word(params: FirstWord, answer: str) -> Score:
    parts = [part.strip() for part in answer.split("\n\n")]
    count = len([part for part in parts if part])
    if count != params.num_paragraphs:
        return said(False, f"the answer has {count} paragraphs, and {params.num_paragraphs} are asked for")
    opening = parts[params.nth_paragraph - 1].split()  # an empty part counts as a place here: more than one empty line
    word = re.split(r"[.,?!'\"]", opening[0].lstrip("'").lstrip('"'))[0].lower() if opening else ""
    fact = f"paragraph {params.nth_paragraph} starts with {word!r}, and {params.first_word!r} is asked for"
    return said(word == params.first_word.lower(), fact)


def _draw_first_word(rng: Random) -> FirstWord:
    count = rng.randint(2, 5)
    return FirstWord(
        num_paragraphs=count, nth_paragraph=rng.randint(1, count), first_word=rng.choice(vocabulary.listed("starts"))
    )


LENGTH = (
    Instruction(
        "length_constraints:number_words",
        WordCount,
        _words,
        lambda params: f"Answer in {params.relation} {params.num_words} words.",
        plain(lambda rng: WordCount(num_words=rng.randrange(30, 310, 10), relation=rng.choice(RELATIONS))),
    ),
    Instruction(
        "length_constraints:number_sentences",
        SentenceCount,
        _sentences,
        lambda params: f"Answer in {params.relation} {params.num_sentences} sentences.",
        plain(lambda rng: SentenceCount(num_sentences=rng.randint(2, 12), relation=rng.choice(RELATIONS))),
    ),
    Instruction(
        "length_constraints:number_paragraphs",
        ParagraphCount,
        _paragraphs,
        lambda params: f"Write {params.num_paragraphs} paragraphs, and divide them by a line with ***.",
        plain(lambda rng: ParagraphCount(num_paragraphs=rng.randint(2, 5))),
    ),
    Instruction(
        "length_constraints:nth_paragraph_first_word",
        FirstWord,
        _first_word,
        lambda params: (
            f"Write {params.num_paragraphs} paragraphs with an empty line between them; paragraph "
            f'{params.nth_paragraph} must start with the word "{params.first_word}".'
        ),
        plain(_draw_first_word),
    ),
)
