"""JSON as language models write it: in fences, with words around it, trailing commas, quotes of all kinds, cut short.

What is cut is never made up: the unfinished string, and the object that it is in, are left out; whole items of a list
before it stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

_FENCE = re.compile(r"```(?:json|JSON)?\s*\n(.*?)(?:\n\s*```|\Z)", re.DOTALL)
_BLANK = re.compile(r"(?:\s|//[^\n]*|,)*")
_BARE = re.compile(r"[^\s,:\[\]{}\"']+")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_QUOTES = {'"': '"', "'": "'", "“": "”"}
_WORDS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_DEEPEST = 60


class Repaired(NamedTuple):
    """A value, and what had to be mended before it could be read (nothing: it was JSON)."""

    value: Any
    mended: tuple[str, ...] = ()


def parsed(text: str) -> Repaired:
    """Return the JSON object or list in a model's answer. Raises ``ValueError`` that says why there is none."""
    try:
        value = orjson.loads(text)
        if isinstance(value, dict | list):
            return Repaired(value)
    except orjson.JSONDecodeError:
        pass
    mended: list[str] = []
    start = _start(text)
    if (fenced := _FENCE.search(text)) and fenced.start() < start:
        text = fenced[1]
        start = _start(text)
        mended.append("code fence")
    if start < 0:
        raise ValueError("no JSON in it")
    reader = _Reader(text, start)
    value = reader.value(0)
    if value is _CUT:
        raise ValueError("the JSON is cut before the first whole item")
    if text[:start].strip() or text[reader.at :].strip():
        mended.append("words around it")
    return Repaired(value, tuple(dict.fromkeys([*mended, *reader.mended])))


def _start(text: str) -> int:
    return min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)


class _Cut:
    """What is not whole."""


_CUT = _Cut()


class _Reader:
    """A reader of JSON that forgives what models get wrong."""

    def __init__(self, text: str, at: int) -> None:
        self._text, self.at = text, at
        self.mended: list[str] = []

    def value(self, depth: int) -> Any:
        """Return the value here, or ``_CUT``."""
        if depth > _DEEPEST:
            raise ValueError(f"JSON nested deeper than {_DEEPEST}")
        here = self._here()
        if here == "{":
            return self._object(depth)
        if here == "[":
            return self._list(depth)
        return self._string(here) if here in _QUOTES else self._bare()

    def _here(self) -> str:
        return self._text[self.at : self.at + 1]

    def _blanks(self, commas: int) -> None:
        """Go past blanks and commas; more commas than there should be are mended."""
        found = _BLANK.match(self._text, self.at)
        assert found is not None  # it matches nothing, too
        self.at = found.end()
        if found[0].count(",") > commas:
            self.mended.append("commas")

    def _items(self, end: str, item: Callable[[], bool]) -> bool:
        """Read items up to ``end``; return whether it was there. ``item`` reads one and tells whether it was whole."""
        self.at += 1
        self._blanks(0)
        while self._here() not in (end, "", "]", "}"):
            if not item():
                return False
            before = self.at
            self._blanks(1)
            comma, here = "," in self._text[before : self.at], self._here()
            if here and comma == (here == end):  # one before the end, or none before another item
                self.mended.append("commas")
        if self._here() == end:
            self.at += 1
            return True
        self.mended.append("cut")
        return False

    def _list(self, depth: int) -> Any:
        found: list[Any] = []

        def item() -> bool:
            value = self.value(depth + 1)
            if value is not _CUT:
                found.append(value)
            return value is not _CUT

        self._items("]", item)
        return found

    def _object(self, depth: int) -> Any:
        found: dict[str, Any] = {}
        whole = True

        def item() -> bool:
            nonlocal whole
            here = self._here()
            key = self._string(here) if here in _QUOTES else self._bare()
            self._blanks(0)
            if key is _CUT or self._here() != ":":
                whole = False
                self.mended.append("cut")
                return False
            self.at += 1
            self._blanks(0)
            value = self.value(depth + 1)
            if value is _CUT:
                whole = False
                return False
            found[str(key)] = value
            return True

        self._items("}", item)
        return found if whole or any(isinstance(value, list) and value for value in found.values()) else _CUT

    def _string(self, quote: str) -> Any:
        end, pieces = _QUOTES[quote], list[str]()
        if quote != '"':
            self.mended.append("quotes")
        self.at += 1
        while (sign := self._here()) and sign != end:
            self.at += 1
            if sign == "\\":
                sign = self._escape()
            elif sign in "\n\t\r":
                self.mended.append("line ends in texts")
            pieces.append(sign)
        if not sign:
            self.mended.append("cut")
            return _CUT
        self.at += 1
        return "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _escape(self) -> str:
        sign = self._here()
        self.at += 1
        if sign == "u":
            digits = self._text[self.at : self.at + 4]
            if re.fullmatch(r"[0-9a-fA-F]{4}", digits):
                self.at += 4
                return chr(int(digits, 16))
        if sign in _ESCAPES:
            return _ESCAPES[sign]
        if sign not in ('"', "\\", "/"):
            self.mended.append("escapes")
        return sign

    def _bare(self) -> Any:
        """Return a number or word without quotes; one at the very end may be cut."""
        found = _BARE.match(self._text, self.at)
        if not found:
            self.at += 1
            return _CUT
        self.at = found.end()
        if self.at == len(self._text):
            self.mended.append("cut")
            return _CUT
        word = found[0]
        if word in _WORDS:
            return _WORDS[word]
        try:
            return orjson.loads(word)
        except orjson.JSONDecodeError:
            self.mended.append("quotes")
            return word
