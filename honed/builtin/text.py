"""Small deterministic readings of a text that several verifiers share: its words, and whether it holds a phrase."""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def words(text: str) -> list[str]:
    """Return the words of ``text`` in order; an apostrophe or a hyphen inside a word doesn't split it."""
    return _WORD.findall(text)


def holds(text: str, phrase: str) -> bool:
    """Return whether ``phrase`` occurs in ``text`` as whole words, whatever the case and the spacing."""
    inner = r"\s+".join(re.escape(part) for part in phrase.split())
    return re.search(rf"(?<!\w){inner}(?!\w)", text, re.IGNORECASE) is not None


def sentence(text: str) -> str:
    """Return ``text`` with its first letter as a capital."""
    return text[:1].upper() + text[1:]
