"""JSON text to a row's value, with every oddity that JSON readers usually let pass named as a fault.

orjson reads a row first, and its answer is taken where it can't have let anything pass (``quick``); all other rows go
to the standard library's scanner, which says where a text breaks and shows repeated keys.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

from honed.data.sources import where
from honed.data.sources.row import CutError, Row, unreadable

MAX_BRACKETS = 64
"""Levels that a row may nest; one with no more brackets can't nest deeper."""
_LONE = re.compile(r"\\u[dD][89a-fA-F]")
_RAW_BYTE = re.compile("[\udc80-\udcff]")
_WORDS = {
    "Expecting value": "a value is missing",
    "Expecting ',' delimiter": "a ',' or a closing bracket is missing",
    "Expecting ':' delimiter": "a ':' is missing",
    "Expecting property name enclosed in double quotes": "a key in double quotes is missing",
    "Unterminated string starting at": "a string that starts here isn't closed",
    "Invalid control character at": "a line break or control character in a string: is its closing quote missing?",
    "Invalid \\escape": "an unknown escape after a backslash",
    "Invalid \\uXXXX escape": "\\u without four hex digits",
    "Extra data": "text after the end of the row",
}
_BLANKS = " \t\r\n"
_QUOTES = "Strings and keys stand in double quotes; json.dumps writes them right."


_EXACT = 2.0**53
_NEVER = -(2**60)


def quick(text: str) -> dict[str, Any] | None:
    """Return the object that ``text`` holds, or None unless orjson is sure to have read all of it exactly.

    It drops all but the last of repeated keys, which the quotes tell: there are two for each key and text that is left.
    Numbers that a float can't hold, and many brackets, which may nest deeply, are left to the careful reader.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if type(value) is not dict or text.count("{") + text.count("[") > MAX_BRACKETS:
        return None
    plain = text.replace("\\\\", "") if "\\\\" in text else text
    return value if plain.count('"') - plain.count('\\"') == 2 * texts(value) else None


def texts(value: Any) -> int:
    """Count the keys and texts of a value; far below 0 if it holds a number that may have been rounded."""
    kind = type(value)
    if kind is str:
        return 1
    if kind is dict:
        return len(value) + sum(1 if type(inner) is str else texts(inner) for inner in value.values())
    if kind is list:
        return sum(map(texts, value))
    return 0 if kind is not float or -_EXACT < value < _EXACT else _NEVER


class Decoder:
    """Decodes the rows of one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._odd: list[tuple[str, str]] = []
        self._json = json.JSONDecoder(
            object_pairs_hook=self._object, parse_constant=self._constant, parse_float=self._float
        )

    def value(self, text: str, start: int = 0) -> tuple[Any, int]:
        """Return the value at ``start`` and the offset behind it. Raises ``ValueError`` or ``RecursionError``."""
        self._odd.clear()
        return self._json.raw_decode(text, start)

    def whole(self, text: str, line: int, column: int = 1) -> Row:
        """Return the row that ``text``, which starts at ``column`` of ``line``, holds from end to end."""
        stripped = text.strip(_BLANKS)
        if (quickly := quick(stripped)) is not None:
            return Row(line, stripped, quickly)
        try:
            value, end = self.value(stripped)
            if end < len(stripped):
                raise json.JSONDecodeError("Extra data", stripped, end)
        except (ValueError, RecursionError) as error:
            return self.broken(error, stripped, (line, column + len(text) - len(text.lstrip(_BLANKS))))
        return self.row(value, stripped, line)

    def row(self, value: Any, text: str, line: int) -> Row:
        """Return the row of a value that ``value`` decoded last from ``text``, or say what is odd about it."""
        if not text.isascii() and (raw := not_utf8(text)) is not None:
            return self._fault(raw, text, line)
        if self._odd:
            kind, what = self._odd[0]
            if kind == "duplicate key":
                path, offset = where.repeated_key(text)
                problem = CutError(kind, f"the key {what!r} stands twice in one object", "Keep one of the two.")
                return self._fault((offset, problem, where.dotted(path)), text, line)
            path, offset = where.scalar(text, what)
            problem = CutError(kind, f"{what} isn't a JSON number", "Use a finite number, or null.")
            return self._fault((offset, problem, where.dotted(path)), text, line)
        if text.count("{") + text.count("[") > MAX_BRACKETS and where.depth(text) > MAX_BRACKETS:
            return self._fault((0, _DEEP, "row"), text, line)
        if _LONE.search(text) and not _encodable(value):
            problem = CutError(
                "not UTF-8", "an escape like \\ud800 without its other half is no character", "Mend the escape."
            )
            return self._fault((0, problem, "row"), text, line)
        if not isinstance(value, dict):
            problem = CutError(
                "not an object", f"a row is an object of fields, not {kind_of(value)}", "Write {...} a row."
            )
            return self._fault((0, problem, "row"), text, line)
        return Row(line, text, value)

    def broken(self, error: Exception, text: str, place: tuple[int, int], ending: str = "") -> Row:
        """Return the row for ``text``, which starts at ``place`` (line, column) and raised ``error``."""
        line, column = place
        if isinstance(error, RecursionError):
            return self._fault((0, _DEEP, "row"), text, line)
        if not text.isascii() and (raw := not_utf8(text)) is not None:
            return self._fault(raw, text, line)
        if not isinstance(error, json.JSONDecodeError):
            problem = CutError("not JSON", f"not JSON: a number is too long to read{ending}", "Write it shorter.")
            return self._fault((0, problem, f"column {column}"), text, line)
        start = text.rfind("\n", 0, error.pos) + 1
        where_ = f"column {error.pos - start + (1 if start else column)}"
        found = text[error.pos : error.pos + 1]
        if found == "\0":
            problem = CutError("NUL bytes", f"not JSON: NUL bytes{ending}", "The file is damaged here: copy it again.")
        else:
            words = _WORDS.get(error.msg, error.msg.lower())
            hint = _QUOTES if found == "'" else "Mend the text there; a row is one JSON object."
            problem = CutError("not JSON", f"not JSON: {words}{ending}", hint)
        return self._fault((error.pos, problem, where_), text, line)

    def _fault(self, found: tuple[int, CutError, str], text: str, line: int) -> Row:
        offset, problem, place = found
        row = unreadable(self.file, (line + text.count("\n", 0, offset), place), problem, text)
        return Row(line, text, None, row.faults)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs):
            names = [name for name, _ in pairs]
            self._odd.append(("duplicate key", next(name for name in names if names.count(name) > 1)))
        return value

    def _constant(self, token: str) -> None:
        self._odd.append(("not a number", token))

    def _float(self, token: str) -> float:
        number = float(token)
        if not math.isfinite(number):
            self._odd.append(("not a number", token))
        return number


_DEEP = CutError(
    "nested too deeply", f"the row nests more than {MAX_BRACKETS} levels deep", "A row is an object of texts."
)


def kind_of(value: object) -> str:
    """Return a user's word for the type of a JSON value."""
    names = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list"}
    return "null" if value is None else names.get(type(value), "an object")


def not_utf8(text: str) -> tuple[int, CutError, str] | None:
    """Bytes that weren't UTF-8 were decoded to lone surrogates; return where the first stands and what to say."""
    found = _RAW_BYTE.search(text)
    if found is None:
        return None
    byte = ord(found[0]) - 0xDC00
    column = found.start() - (text.rfind("\n", 0, found.start()) + 1) + 1
    problem = CutError("not UTF-8", f"the byte 0x{byte:02x} isn't UTF-8", "Save the file as UTF-8.")
    return found.start(), problem, f"column {column}"


def _encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
