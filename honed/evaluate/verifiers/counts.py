"""IFBench: how many words, names, numbers, pronouns, conjunctions and marks."""

from __future__ import annotations

import re
from random import Random

from pydantic import Field, model_validator

from honed.evaluate.verifiers import vocabulary
from honed.evaluate.verifiers.instruction import Instruction, Params, fixed, plain, said
from honed.evaluate.verifiers.keywords import Word
from honed.evaluate.verifiers.tokens import bare, tokens, trimmed, words
from honed.evaluate.verifiers.vocabulary import among, listed
from honed.records import Score

_JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


class AtLeast(Params):
    """How many of something, at least."""

    N: int = Field(ge=0)


class Exactly(Params):
    """How many of something, exactly."""

    N: int = Field(ge=0)


class Every(Params):
    """Every N-th word."""

    N: int = Field(ge=1)


class SmallN(Params):
    """How many different ones, at least. The benchmark takes ``and`` and ``And`` for different ones."""

    small_n: int = Field(ge=0)


class Range(Params):
    """How many words, at least and at most."""

    min_words: int = Field(ge=0)
    max_words: int = Field(ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")
        return self


class FiveKeywords(Params):
    """Words that occur once, twice, three, five and seven times."""

    keyword1: Word
    keyword2: Word
    keyword3: Word
    keyword4: Word
    keyword5: Word

    def wanted(self) -> tuple[tuple[str, int], ...]:
        """Return the words, and how often each must occur."""
        given = (self.keyword1, self.keyword2, self.keyword3, self.keyword4, self.keyword5)
        return tuple(zip(given, (1, 2, 3, 5, 7), strict=True))


def _range(params: Range, answer: str) -> Score:
    count = len(words(answer))
    fact = f"the answer has {count} words, and {params.min_words} to {params.max_words} are asked for"
    return said(params.min_words <= count <= params.max_words, fact)


def _unique(params: AtLeast, answer: str) -> Score:
    count = len({trimmed(word) for word in answer.lower().split()})
    return said(count >= params.N, f"the answer has {count} different words of at least {params.N}")


def _conjunctions(params: SmallN, answer: str) -> Score:
    used = {word for word in answer.split() if trimmed(word).lower() in among("conjunctions")}
    return said(len(used) >= params.small_n, f"{len(used)} different conjunctions of at least {params.small_n}")


def _names(params: AtLeast, answer: str) -> Score:
    used = set(re.findall(r"\w+", answer)) & among("person_names")
    return said(len(used) >= params.N, f"{len(used)} different names of the list, of at least {params.N}")


def _numbers(params: Exactly, answer: str) -> Score:
    count = len(re.findall(r"\d+", bare(answer)))
    return said(count == params.N, f"{count} numbers, and exactly {params.N} are asked for")


def _pronouns(params: AtLeast, answer: str) -> Score:
    count = sum(token in among("pronouns") for token in tokens(answer.replace("/", " ").lower()))
    return said(count >= params.N, f"{count} pronouns of at least {params.N}")


def _punctuation(answer: str) -> Score:
    if not any(mark in answer for mark in ("!?", "?!", "‽")):
        return said(False, "there is no interrobang")
    once = answer.replace("?!", "", 1) if "?!" in answer else answer.replace("!?", "", 1)
    missing = [mark for mark in ".,!?;:" if mark not in once]
    return said(not missing, f"beside the interrobang, {' '.join(missing) or 'nothing'} is missing")


def _keywords(params: FiveKeywords, answer: str) -> Score:
    text = answer.lower()
    for word, wanted in params.wanted():
        if (count := text.count(word.lower())) != wanted:
            return said(False, f"{word!r} occurs {count} times, and {wanted} is asked for")
    return said(True, "every keyword occurs as often as asked for")


def _japanese(params: Every, answer: str) -> Score:
    wanted = [trimmed(word) for word in answer.split()[params.N - 1 :: params.N]]
    other = next((word for word in wanted if word and not word.isdigit() and not _JAPANESE.search(word)), None)
    return said(other is None, f"{other!r} is not Japanese" if other else f"every word no. {params.N} is Japanese")


def ordinal(number: int) -> str:
    """Return ``1st``, ``2nd``, ``3rd``, ``4th`` ..."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _draw_range(rng: Random) -> Range:
    low = rng.randrange(40, 240, 10)
    return Range(min_words=low, max_words=low + rng.randint(10, 30))


def _draw_keywords(rng: Random) -> FiveKeywords:
    one, two, three, four, five = vocabulary.keywords(rng, 5)
    return FiveKeywords(keyword1=one, keyword2=two, keyword3=three, keyword4=four, keyword5=five)


def _say_keywords(params: FiveKeywords) -> str:
    once, twice, three, five, seven = (word for word, _ in params.wanted())
    return (
        f'Use the word "{once}" once, "{twice}" twice, "{three}" three times, "{five}" five times and "{seven}" seven '
        "times."
    )


COUNTS = (
    Instruction(
        "count:word_count_range",
        Range,
        _range,
        lambda params: f"Answer in {params.min_words} to {params.max_words} words.",
        plain(_draw_range),
    ),
    Instruction(
        "count:unique_word_count",
        AtLeast,
        _unique,
        lambda params: f"Use at least {params.N} different words.",
        plain(lambda rng: AtLeast(N=rng.randrange(30, 130, 10))),
    ),
    Instruction(
        "count:conjunctions",
        SmallN,
        _conjunctions,
        lambda params: f"Use at least {params.small_n} different coordinating conjunctions.",
        plain(lambda rng: SmallN(small_n=rng.randint(2, 6))),
    ),
    Instruction(
        "count:person_names",
        AtLeast,
        _names,
        lambda params: (
            f"Name at least {params.N} different persons out of this list: {', '.join(listed('person_names'))}."
        ),
        plain(lambda rng: AtLeast(N=rng.randint(2, 12))),
    ),
    Instruction(
        "count:numbers",
        Exactly,
        _numbers,
        lambda params: f"Write exactly {params.N} numbers, in digits.",
        plain(lambda rng: Exactly(N=rng.randint(1, 8))),
    ),
    Instruction(
        "count:pronouns",
        AtLeast,
        _pronouns,
        lambda params: f"Use at least {params.N} personal pronouns.",
        plain(lambda rng: AtLeast(N=rng.randint(3, 20))),
    ),
    fixed(
        "count:punctuation",
        _punctuation,
        "Use each of these marks at least once: period, comma, exclamation mark, question mark, semicolon, colon, and "
        "the interrobang (?!).",
    ),
    Instruction("count:keywords_multiple", FiveKeywords, _keywords, _say_keywords, plain(_draw_keywords)),
    Instruction(
        "count:words_japanese",
        Every,
        _japanese,
        lambda params: f"Write every {ordinal(params.N)} word in Japanese.",
        plain(lambda rng: Every(N=rng.randint(2, 20))),
    ),
)
