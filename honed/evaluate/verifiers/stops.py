"""Where the sentences of a text end by plain rules, as IFBench divides text: every mark ends one, but for known cases.

IFEval counts sentences with Punkt (``sentences.py``). IFBench's published verdicts come from the rules below instead,
which its checker took over from IFEval's: line ends mean nothing, and a quotation mark after a mark is put before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_KEPT, _STOP = "\ue000", "\ue001"  # a period that ends nothing, and an end: characters for private use
_OPENER = r"(?=Mr|Mrs|Ms|Dr|Prof|Capt|Cpt|Lt|Wherever|(?:He|She|It|They|Their|Our|We|But|However|That|This)\s)"
_SUFFIX = "(Inc|Ltd|Jr|Sr|Co)"
_LETTER = "([A-Za-z])"


def _dots(found: re.Match[str]) -> str:
    return _KEPT * len(found.group()) + _STOP


_RULES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(Mr|St|Mrs|Ms|Dr)\.", rf"\1{_KEPT}"),
        (r"\.(com|net|org|io|gov|edu|me)", rf"{_KEPT}\1"),
        (r"([0-9])\.([0-9])", rf"\1{_KEPT}\2"),
        (r"\.{2,}", _dots),
        (r"Ph\.D\.", f"Ph{_KEPT}D{_KEPT}"),
        (rf"\s{_LETTER}\. ", rf" \1{_KEPT} "),
        (rf"([A-Z]\.[A-Z]\.(?:[A-Z]\.)?) {_OPENER}", rf"\1{_STOP} "),
        (rf"{_LETTER}\.{_LETTER}\.{_LETTER}\.", rf"\1{_KEPT}\2{_KEPT}\3{_KEPT}"),
        (rf"{_LETTER}\.{_LETTER}\.", rf"\1{_KEPT}\2{_KEPT}"),
        (rf" {_SUFFIX}\. {_OPENER}", rf" \1{_STOP} "),
        (rf" {_SUFFIX}\.", rf" \1{_KEPT}"),
        (rf" {_LETTER}\.", rf" \1{_KEPT}"),
        (r"\.”", "”."),
        (r'\."', '".'),
        (r'!"', '"!'),
        (r'\?"', '"?'),
        (r"([.?!])", rf"\1{_STOP}"),
    )
)
"""In this order; what a rule has marked, a later one doesn't see as a period any more."""


def divided(text: str) -> list[str]:
    """Return the sentences of ``text`` in order, without white space around them; never raises."""
    text = f" {text}  ".replace("\n", " ")
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    found = [part.strip() for part in text.replace(_KEPT, ".").split(_STOP)]
    return found if found[-1] else found[:-1]
