"""IFBench: what each word must be: its letters, its length, its syllables, its place."""

from __future__ import annotations

import string
from collections import Counter
from itertools import pairwise
from math import isqrt
from random import Random

from pydantic import Field

from honed.evaluate.verifiers import vocabulary
from honed.evaluate.verifiers.counts import ordinal
from honed.evaluate.verifiers.instruction import Instruction, Params, fixed, plain, said
from honed.evaluate.verifiers.keywords import Word
from honed.evaluate.verifiers.stops import divided
from honed.evaluate.verifiers.tokens import EDGES, bare_words, tokens, trimmed
from honed.evaluate.verifiers.verbs import starts_with_verb
from honed.records import Score

_CONSONANTS = frozenset("bcdfghjklmnpqrstvwxyz")
_PALINDROMES, _SHORTEST_PALINDROME = 10, 5
_LONGEST_PRIME = 97


class Repeats(Params):
    """How often a word may occur, at most."""

    small_n: int = Field(ge=1)


class Place(Params):
    """A word, the number of its sentence and its place among the sentence's tokens, both from 1."""

    keyword: Word
    n: int = Field(ge=1)
    m: int = Field(ge=1)


class Second(Params):
    """The word that must be the second, and the last but one."""

    keyword: Word


def _alphabet(answer: str) -> Score:
    initials = [word.lower()[0] for word in bare_words(answer)]
    if not initials or initials[0] not in string.ascii_lowercase:
        return said(False, "the first word does not start with a letter from a to z")
    start = ord(initials[0]) - ord("a")
    for place, initial in enumerate(initials):
        wanted = string.ascii_lowercase[(start + place) % 26]
        if initial != wanted:
            return said(False, f"the {ordinal(place + 1)} word starts with {initial!r}, and {wanted!r} is asked for")
    return said(True, "each word starts with the next letter")


def _vowels(answer: str) -> Score:
    text = answer.strip()
    if "\n" in text:
        return said(False, "there is more than one paragraph")
    used = [vowel for vowel in "aeiou" if vowel in text.lower()]
    return said(len(used) <= 3, f"the vowels used are {', '.join(used) or 'none'}, of at most three")


def _consonants(answer: str) -> Score:
    lacks = next((word for word in answer.lower().split() if not _has_cluster(word)), None)
    return said(lacks is None, f"{lacks!r} has no two consonants together" if lacks else "every word has a cluster")


def _has_cluster(word: str) -> bool:
    return any(one in _CONSONANTS and other in _CONSONANTS for one, other in pairwise(word))


def _palindromes(answer: str) -> Score:
    found = [word for word in bare_words(answer.lower()) if len(word) >= _SHORTEST_PALINDROME and word == word[::-1]]
    return said(len(found) >= _PALINDROMES, f"{len(found)} palindromes of at least {_PALINDROMES}")


def _primes(answer: str) -> Score:
    other = next((word for word in bare_words(answer) if not _is_prime(len(word))), None)
    return said(other is None, f"{other!r} has {len(other or '')} letters" if other else "all lengths are prime")


def _is_prime(number: int) -> bool:
    if not 2 <= number <= _LONGEST_PRIME:  # the benchmark's table of primes ends there
        return False
    return all(number % divisor for divisor in range(2, isqrt(number) + 1))


def _repeats(params: Repeats, answer: str) -> Score:
    word, count = max(Counter(bare_words(answer.lower())).items(), key=lambda item: item[1], default=("", 0))
    return said(count <= params.small_n, f"{word!r} occurs {count} times, of at most {params.small_n}")


def _neighbours(answer: str) -> Score:
    found = bare_words(answer.lower())
    pair = next((pair for pair in pairwise(found) if pair[0][0] == pair[1][0]), None)
    return said(pair is None, f"{pair[0]!r} and {pair[1]!r} start alike" if pair else "no neighbours start alike")


def _syllables(answer: str) -> Score:
    import syllapy

    counted = [(word, int(syllapy.count(word))) for word in bare_words(answer.lower())]
    for (one, first), (other, second) in pairwise(counted):
        if first % 2 == second % 2:
            return said(False, f"{one!r} has {first} syllables and {other!r} has {second}")
    return said(True, "odd and even numbers of syllables take turns")


def _chain(answer: str) -> Score:
    for one, other in pairwise(divided(answer)):
        last, first = one.rstrip(EDGES).split()[-1:], other.lstrip(EDGES).split()[:1]
        if not last or not first or last[0].lower() != first[0].lower():
            return said(False, f"after {' '.join(last)!r} a sentence starts with {' '.join(first)!r}")
    return said(True, "each sentence starts with the last word of the one before")


def _ring(answer: str) -> Score:
    for paragraph in answer.lower().split("\n"):
        found = trimmed(paragraph.strip()).split()
        if found and found[0] != found[-1]:
            return said(False, f"a paragraph starts with {found[0]!r} and ends with {found[-1]!r}")
    return said(True, "each paragraph ends with the word it starts with")


def _verb(answer: str) -> Score:
    found = tokens(answer)[:2]
    starts = starts_with_verb(found)
    return said(starts, f"{''.join(found[:1])!r} is {'' if starts else 'not '}read as a verb")


def _place(params: Place, answer: str) -> Score:
    found = divided(answer)
    if len(found) < params.n:
        return said(False, f"there are {len(found)} sentences, and the {ordinal(params.n)} is asked for")
    parts = tokens(found[params.n - 1])
    if len(parts) < params.m:
        return said(False, f"the {ordinal(params.n)} sentence has {len(parts)} words, of at least {params.m}")
    word = parts[params.m - 1]
    return said(word.lower() == params.keyword.lower(), f"{word!r} stands where {params.keyword!r} is asked for")


def _second(params: Second, answer: str) -> Score:
    found = tokens(answer)
    if len(found) < 2:
        return said(False, "there are fewer than two words")
    right = found[1].lower() == found[-2].lower() == params.keyword.lower()
    return said(right, f"the second word is {found[1]!r}, the last but one {found[-2]!r}")


def _draw_place(rng: Random) -> Place:
    return Place(keyword=vocabulary.keyword(rng), n=rng.randint(1, 5), m=rng.randint(1, 8))


WORDPLAY = (
    fixed("words:alphabet", _alphabet, "Start each word with the next letter of the alphabet; after Z comes A again."),
    fixed("words:vowel", _vowels, "Write a single paragraph that uses at most three of the vowels a, e, i, o and u."),
    fixed("words:consonants", _consonants, "Use only words in which at least two consonants stand together."),
    fixed(
        "words:palindrome",
        _palindromes,
        f"Use at least {_PALINDROMES} palindromes of at least {_SHORTEST_PALINDROME} letters, each a single word.",
    ),
    fixed("words:prime_lengths", _primes, "Use only words whose number of letters is prime."),
    Instruction(
        "words:repeats",
        Repeats,
        _repeats,
        lambda params: f"Use no word more than {params.small_n} times.",
        plain(lambda rng: Repeats(small_n=rng.randint(1, 5))),
    ),
    fixed("words:no_consecutive", _neighbours, "No two neighbouring words may start with the same letter."),
    fixed("words:odd_even_syllables", _syllables, "Let words with odd and even numbers of syllables take turns."),
    fixed("words:last_first", _chain, "Start each sentence with the last word of the sentence before it."),
    fixed(
        "words:paragraph_last_first",
        _ring,
        "End each paragraph with the word that it starts with; a paragraph is a line.",
    ),
    fixed("words:start_verb", _verb, "Start your answer with a verb."),
    Instruction(
        "words:keywords_specific_position",
        Place,
        _place,
        lambda params: (
            f'The {ordinal(params.m)} word of the {ordinal(params.n)} sentence must be "{params.keyword}"; punctuation '
            "marks count as words."
        ),
        plain(_draw_place),
    ),
    Instruction(
        "words:words_position",
        Second,
        _second,
        lambda params: (
            f'The second word and the last but one must be "{params.keyword}"; punctuation marks count as words.'
        ),
        plain(lambda rng: Second(keyword=vocabulary.keyword(rng))),
    ),
)
