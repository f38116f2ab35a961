"""How hard an English text is to read: the Flesch-Kincaid grade level over a rule-based syllable counter.

Source of the formula: J. P. Kincaid, R. P. Fishburne, R. L. Rogers and B. S. Chissom, "Derivation of New Readability
Formulas (Automated Readability Index, Fog Count and Flesch Reading Ease Formula) for Navy Enlisted Personnel",
Research Branch Report 8-75, Naval Technical Training Command, 1975.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from honed.builtin.text import words

_END = re.compile(r"(?<![.!?])[.!?]+(?=\s|$)|\n+")
_VOWELS = re.compile(r"[aeiouy]+")
_SILENT_ENDING = re.compile(r"(?:[^laeiouy]es|[^tdaeiouy]ed|[^laeiouy]e)$")
_SOUNDED_ENDING = re.compile(r"(?:[sxz]|[cs]h|[cg])es$")
_TWO_SOUNDS = re.compile(r"[iu]a(?!ge)|[^tscg]io|eo(?!u)|[^q]uo|[ey]ing")


@dataclass(frozen=True)
class Reading:
    """The measures of a text: counts of words and sentences, its longest sentence in words, its school grade."""

    words: int
    sentences: int
    longest: int
    grade: float


def syllables(word: str) -> int:
    """Estimate the syllables of an English word by its vowel groups (at least 1; a number counts as 1)."""
    word = word.lower()
    count = len(_VOWELS.findall(word)) + len(_TWO_SOUNDS.findall(word))
    if _SILENT_ENDING.search(word) and not _SOUNDED_ENDING.search(word):
        count -= 1
    return max(1, count)


def read(text: str) -> Reading:
    """Measure ``text``. The grade is 0.39 words/sentence + 11.8 syllables/word - 15.59; a text without words has 0."""
    lengths = [len(words(part)) for part in _END.split(text)]
    lengths = [length for length in lengths if length]
    if not lengths:
        return Reading(words=0, sentences=0, longest=0, grade=0.0)
    total = sum(lengths)
    sounds = sum(syllables(word) for word in words(text))
    grade = 0.39 * total / len(lengths) + 11.8 * sounds / total - 15.59
    return Reading(words=total, sentences=len(lengths), longest=max(lengths), grade=round(grade, 2))
