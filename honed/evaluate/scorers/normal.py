"""What two texts are compared by: case, punctuation, articles and spacing play no part."""

from __future__ import annotations

import re
import unicodedata

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_WORD = re.compile(r"\w+")


def normalised(text: str) -> str:
    """Return ``text`` in small letters without punctuation, English articles and surplus spaces.

    P. Rajpurkar, J. Zhang, K. Lopyrev, P. Liang, "SQuAD: 100,000+ Questions for Machine Comprehension of Text" (2016),
    section 6.1, and Unicode's compatibility form before. A text that nothing remains of stays as it is.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(" " if unicodedata.category(char)[0] in "PZC" else char for char in folded)
    words = " ".join(_ARTICLES.sub(" ", kept).split())
    return words or " ".join(kept.split()) or text.strip()


def tokens(text: str) -> list[str]:
    """Return the words of ``text`` in small letters, articles included."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def within(phrase: str, text: str) -> bool:
    """Return whether the words of ``phrase`` stand in ``text`` in a row, both normalised."""
    return f" {normalised(phrase)} " in f" {normalised(text)} "


def one_of(phrases: tuple[str, ...], text: str) -> str | None:
    """Return the first of ``phrases`` whose words stand in ``text``, or None."""
    return next((phrase for phrase in phrases if within(phrase, text)), None)
