"""Where a field stands in the text of a JSON value: walked only once a fault is known, to tell its true line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""Keys and indices that lead to a field: ``("messages", 2, "role")``."""

_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],:]|[^\s"{}\[\],:]++', re.DOTALL)


@dataclass(slots=True)
class _Open:
    """A container that isn't closed yet. ``fresh``: the next token is a key (object) or starts an element (array)."""

    is_object: bool
    at: str | int
    fresh: bool = True


def walk(text: str) -> Iterator[tuple[Path, int]]:
    """Yield the path and the offset of each key and each array element of the JSON in ``text``, broken or not."""
    stack: list[_Open] = []
    for match in _TOKEN.finditer(text):
        token = match[0]
        top = stack[-1] if stack else None
        if token in "}]":
            if stack:
                stack.pop()
            continue
        if token == ":":
            continue
        if token == ",":
            _next(top)
            continue
        if top and top.fresh and (not top.is_object or token[0] == '"'):
            if top.is_object:
                top.at = _unquoted(token)
            top.fresh = False
            yield tuple(frame.at for frame in stack), match.start()
        if token in "{[":
            stack.append(_Open(token == "{", "" if token == "{" else 0))


def line_of(text: str, path: Path) -> int:
    """Return how many lines below the start of ``text`` the field at ``path`` stands, or its nearest parent."""
    best, offset = 0, 0
    for found, start in walk(text):
        if len(found) > best and found == path[: len(found)]:
            best, offset = len(found), start
            if best == len(path):
                break
    return text.count("\n", 0, offset)


def repeated_key(text: str) -> tuple[Path, int]:
    """Return the path and offset of the first key that stands twice in one object."""
    seen: set[Path] = set()
    for path, offset in walk(text):
        if path in seen:
            return path, offset
        seen.add(path)
    return (), 0


def scalar(text: str, token: str) -> tuple[Path, int]:
    """Return the path and offset of the first bare ``token`` (a number, ``NaN``) outside of strings."""
    offset = next((match.start() for match in _TOKEN.finditer(text) if match[0] == token), 0)
    before: Path = ()
    for path, start in walk(text):
        if start > offset:
            break
        before = path
    return before, offset


def dotted(path: Path) -> str:
    """Return a path as people write it: ``messages[2].role``; the empty one is the ``row``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "row"


def depth(text: str) -> int:
    """Return how deep the brackets of ``text`` nest."""
    deepest = now = 0
    for match in _TOKEN.finditer(text):
        now += (match[0] in "{[") - (match[0] in "}]")
        deepest = max(deepest, now)
    return deepest


def _next(top: _Open | None) -> None:
    if top:
        top.fresh = True
        if isinstance(top.at, int):
            top.at += 1


def _unquoted(token: str) -> str:
    try:
        return str(json.loads(token, strict=False))
    except ValueError:
        return token[1:-1]
