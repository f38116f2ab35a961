"""IFEval: the language of an answer, and its capital and small letters."""

from __future__ import annotations

from random import Random
from typing import Annotated

from pydantic import AfterValidator, Field

from honed.evaluate.verifiers.instruction import Instruction, Params, fixed, plain, said
from honed.evaluate.verifiers.keywords import RELATIONS, Relation, holds
from honed.evaluate.verifiers.language import LANGUAGES, language
from honed.evaluate.verifiers.tokens import tokens
from honed.records import Score


def _known(code: str) -> str:
    if code not in LANGUAGES:
        raise ValueError(f"no such language; known: {', '.join(LANGUAGES)}")
    return code


class InLanguage(Params):
    """The ISO 639-1 code of the language that the whole answer must be in."""

    language: Annotated[str, AfterValidator(_known)]


class CapitalWords(Params):
    """How many words in capitals."""

    capital_frequency: int = Field(ge=0)
    capital_relation: Relation


def _in_language(params: InLanguage, answer: str) -> Score:
    return _spoken(answer, params.language)


def _spoken(answer: str, wanted: str) -> Score:
    """Judge the language; where nothing in the text tells one, the benchmark gives the benefit of the doubt."""
    found = language(answer)
    if found is None:
        return said(True, "no letter tells the language")
    return said(found == wanted, f"the answer reads as {LANGUAGES[found]}, and {LANGUAGES[wanted]} is asked for")


def _capital(answer: str) -> Score:
    return _spoken(answer, "en") if answer.isupper() else said(False, "not all letters are capitals")


def _lower(answer: str) -> Score:
    return _spoken(answer, "en") if answer.islower() else said(False, "not all letters are small")


def _capital_words(params: CapitalWords, answer: str) -> Score:
    count = sum(token.isupper() for token in tokens(answer))
    fact = f"{count} words in capitals, and {params.capital_relation} {params.capital_frequency} are asked for"
    return said(holds(count, params.capital_relation, params.capital_frequency), fact)


def _draw_capital_words(rng: Random) -> CapitalWords:
    return CapitalWords(capital_frequency=rng.randint(1, 10), capital_relation=rng.choice(RELATIONS))


CASE = (
    Instruction(
        "language:response_language",
        InLanguage,
        _in_language,
        lambda params: f"Write the whole answer in {LANGUAGES[params.language]}, and in no other language.",
        plain(lambda rng: InLanguage(language=rng.choice(list(LANGUAGES)))),
    ),
    fixed("change_case:english_capital", _capital, "Write the whole answer in English and in capital letters only."),
    fixed("change_case:english_lowercase", _lower, "Write the whole answer in English and in small letters only."),
    Instruction(
        "change_case:capital_word_frequency",
        CapitalWords,
        _capital_words,
        lambda params: (
            f"Write {params.capital_relation} {params.capital_frequency} words in capital letters from end to end."
        ),
        plain(_draw_capital_words),
    ),
)
