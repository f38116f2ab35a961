"""The words of a text, in each of the ways in which the benchmarks count them."""

from __future__ import annotations

import re
import string

from honed.evaluate.verifiers.sentences import sentences

EDGES = string.punctuation + " "
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)

# The conventions of the Penn Treebank: which marks are tokens of their own, and which endings are split off.
_APART = re.compile(r"''|``|`|\.{2,}|--|[«“‘„»”’\";@#$%&?!*\[\](){}<>\u2012-\u2015]|[:,](?!\d)")
_OPENING = re.compile(r"(?<!\w)'(?!(?:re|ve|ll|[mtsdn])\b)(?=\w)", re.IGNORECASE)
_FINAL = re.compile(r"(?<!\.)\.(?=[\])}>\"'»”’ ]*+\s*$)")
_CLITIC = re.compile(r"(?<=[^' ])('(?:[sSmMdD]|ll|LL|re|RE|ve|VE)?|n't|N'T)(?=\s|$)")
_SPLIT = re.compile(
    r"\b(can)(not)\b|\b(d)('ye)\b|\b(gim)(me)\b|\b(gon)(na)\b|\b(got)(ta)\b|\b(lem)(me)\b|\b(more)('n)\b"
    r"|\b(wan)(na)(?=\s)|(?<=\s)('t)(is|was)\b",
    re.IGNORECASE,
)


def words(text: str) -> list[str]:
    """Return the runs of letters, digits and underscores."""
    return re.findall(r"\w+", text)


def bare(text: str) -> str:
    """Return ``text`` without ASCII punctuation: ``don't`` becomes ``dont``."""
    return text.translate(_NO_PUNCTUATION)


def bare_words(text: str) -> list[str]:
    """Return the words between white space, their punctuation left out; none is empty."""
    return bare(text).split()


def trimmed(text: str) -> str:
    """Return ``text`` without punctuation and spaces at both ends."""
    return text.strip(EDGES)


def tokens(text: str) -> list[str]:
    """Return the tokens of ``text`` by the conventions of the Penn Treebank, sentence by sentence.

    M. Marcus and others, "Building a large annotated corpus of English", Computational Linguistics 19 (1993). Marks
    are tokens, ``don't`` is ``do`` and ``n't``; a period is one at the end of a sentence only.
    """
    return [token for sentence in sentences(text) for token in _treebank(sentence)]


def _treebank(sentence: str) -> list[str]:
    text = _OPENING.sub("' ", sentence)
    text = _FINAL.sub(" . ", text)
    text = f" {_APART.sub(_spaced, text)} "
    text = _CLITIC.sub(r" \1 ", text)
    text = _SPLIT.sub(lambda found: f" {' '.join(part for part in found.groups() if part)} ", text)
    return text.split()


def _spaced(found: re.Match[str]) -> str:
    return f" {found.group()} "
