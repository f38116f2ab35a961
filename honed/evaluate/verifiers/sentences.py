"""Where the sentences of a text end: the Punkt method, with its published English model.

T. Kiss, J. Strunk, "Unsupervised multilingual sentence boundary detection", Computational Linguistics 32 (2006). The
benchmarks count sentences as NLTK's Punkt does; the decisions here are the same, the model (abbreviations, frequent
starters, how words are written) comes with a package and is never downloaded.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

_AFTER_A_WORD = r"[)\";}\]*:@'({\[!?]"
_SEVERAL = r"(?:-{2,}|\.{2,}|(?:\.\s){2,}\.)"
_MARK = re.compile(rf"[.?!](?=(?P<after>{_AFTER_A_WORD}|\s+(?P<next>\S+)))")
_TOKEN = re.compile(
    rf"{_SEVERAL}"
    rf"|(?=[^(\"`{{\[:;&#*@)}}\]\-,])\S+?(?=\s|$|{_AFTER_A_WORD}|{_SEVERAL}|,(?=$|\s|{_AFTER_A_WORD}|{_SEVERAL}))"
    r"|\S"
)
_CLOSING = re.compile(r"[\"')\]}]+?(?:\s+|(?=--)|$)", re.MULTILINE)
_NUMBER = re.compile(r"^-?[.,]?\d[\d,.-]*\.?$")
_ELLIPSIS = re.compile(r"\.{2,}$")
_INITIAL = re.compile(r"[^\W\d]\.$")
_A_NUMBER = "##number##"

# How the model has seen a word written: bits of its orthographic context.
_UPPER, _UPPER_INSIDE, _LOWER, _LOWER_FIRST = 0b1110, 0b100, 0b1110000, 0b10000


class _Model(NamedTuple):
    """What Punkt has learned of English: lower-cased words, without their period."""

    abbreviations: frozenset[str]
    collocations: frozenset[tuple[str, str]]
    starters: frozenset[str]
    written: Mapping[str, int]


def sentences(text: str) -> list[str]:
    """Return the sentences of ``text`` in order, without the white space around them; never raises."""
    found: list[str] = []
    moved = 0  # characters at the head of a sentence that close the one before it
    spans = list(_spans(text, _english()))
    for (start, end), following in zip(spans, [*spans[1:], None], strict=True):
        begin = start + moved
        closing = _CLOSING.match(text[following[0] : following[1]]) if following else None
        moved = closing.end() if closing else 0
        if following and closing:
            end = following[0] + len(closing.group().rstrip())
        if text[begin:end]:
            found.append(text[begin:end])
    return found


def _spans(text: str, model: _Model) -> Iterator[tuple[int, int]]:
    begin = 0
    for mark, context in _candidates(text):
        if _has_break(context, model):
            yield begin, mark.end()
            begin = mark.start("next") if mark["next"] else mark.end()
    yield begin, len(text.rstrip())


def _candidates(text: str) -> Iterator[tuple[re.Match[str], str]]:
    """Yield the last mark of each word that may end a sentence, and the word with what follows it."""
    word, held = 0, None
    for mark in _MARK.finditer(text):
        since = held.start() if held else 0
        space = max(text.rfind(char, since, mark.start()) for char in string.whitespace)
        start = space + 1 if space > since else word
        if held and held.start() <= start:
            yield held, f"{text[word : held.end()]}{held['after']}"
        word, held = start, mark
    if held:
        yield held, f"{text[word : held.end()]}{held['after']}"


def _has_break(context: str, model: _Model) -> bool:
    tokens = [token for line in context.split("\n") for token in _TOKEN.findall(line)]
    return any(_ends(token, following, model) for token, following in pairwise(tokens))


def _ends(token: str, following: str, model: _Model) -> bool:
    """Say whether a sentence ends between two tokens: sections 4.1 to 4.3 of the paper."""
    if not token.endswith("."):
        return token in ("?", "!")
    type_ = _type(token)
    this = type_[:-1] if len(type_) > 1 and type_.endswith(".") else type_
    other = _bare(following, model)
    if (this, other) in model.collocations:
        return False
    initial = bool(_INITIAL.match(token))
    starts = _starts(following, other, model)
    if not initial and (_ELLIPSIS.match(token) or _abbreviates(token, model)):
        return starts is True or (following[0].isupper() and other in model.starters)
    if initial or this == _A_NUMBER:
        unseen = initial and following[0].isupper() and not model.written.get(other, 0) & _LOWER
        if starts is False or (starts is None and unseen):
            return False
    return _alone_ends(token, model)


def _alone_ends(token: str, model: _Model) -> bool:
    """Say whether a token that ends in a period ends a sentence, as far as it alone tells."""
    return token == "." or not (token.endswith("..") or _abbreviates(token, model))


def _abbreviates(token: str, model: _Model) -> bool:
    stem = token[:-1].lower()
    return not token.endswith("..") and (stem in model.abbreviations or stem.rpartition("-")[2] in model.abbreviations)


def _starts(token: str, bare: str, model: _Model) -> bool | None:
    """Say whether the way a word is written shows that it starts a sentence, or not, or neither."""
    if token in tuple(";:,.!?"):
        return False
    written = model.written.get(bare, 0)
    if token[0].isupper() and written & _LOWER and not written & _UPPER_INSIDE:
        return True
    if token[0].islower() and (written & _UPPER or not written & _LOWER_FIRST):
        return False
    return None


def _type(token: str) -> str:
    return _NUMBER.sub(_A_NUMBER, token.lower())


def _bare(token: str, model: _Model) -> str:
    type_ = _type(token)
    ends = token.endswith(".") and _alone_ends(token, model)
    return type_[:-1] if ends and len(type_) > 1 and type_.endswith(".") else type_


@cache
def _english() -> _Model:
    import punkt

    model: Any = punkt.load_model("english")
    return _Model(
        abbreviations=frozenset(model.abbrev_types),
        collocations=frozenset((first, second) for first, second in model.collocations),
        starters=frozenset(model.sent_starters),
        written={word: int(bits) for word, bits in model.ortho_context.items()},
    )
