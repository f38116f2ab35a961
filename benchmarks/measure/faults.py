"""Rows of prompt and response that nobody can use, one way of each, to be planted at known lines of a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any


def _line(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def _turns(*turns: Mapping[str, Any]) -> Callable[[str, str], bytes]:
    """Return the row whose prompt is a list of turns, after one that says it."""
    return lambda prompt, answer: _line(prompt=[{"role": "user", "content": prompt}, *turns], response=answer)


def _cut(prompt: str, answer: str) -> bytes:
    return _line(prompt=prompt, response=answer)[:-4]


def _with(text: bytes) -> Callable[[str, str], bytes]:
    """Return the row in whose answer the bytes ``text`` stand, as they are."""
    return lambda prompt, answer: _line(prompt=prompt, response=f"@ {answer}").replace(b"@ ", text + b" ", 1)


def _twice(prompt: str, answer: str) -> bytes:
    return _line(prompt=prompt, response=answer)[:-1] + b', "prompt": "again"}'


FAULTS: Mapping[str, tuple[str, Callable[[str, str], bytes]]] = {
    "empty answer": ("empty answer", lambda prompt, _: _line(prompt=prompt, response="")),
    "blank prompt": ("empty prompt", lambda _, answer: _line(prompt=" \n", response=answer)),
    "broken JSON": ("not JSON", _cut),
    "missing field": ("missing field", lambda prompt, _: _line(prompt=prompt)),
    "wrong type": ("wrong type", lambda prompt, _: _line(prompt=prompt, response=42)),
    "null": ("wrong type", lambda prompt, _: _line(prompt=prompt, response=None)),
    "not an object": ("not an object", lambda prompt, answer: json.dumps([prompt, answer]).encode()),
    "another shape": (
        "two shapes",
        lambda prompt, answer: _line(
            messages=[{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        ),
    ),
    "role order": ("roles out of order", _turns({"role": "user", "content": "Two in a row."})),
    "unknown role": ("unknown role", _turns({"role": "wizard", "content": "Abracadabra."})),
    "tool call": ("bad tool call", _turns({"role": "assistant", "content": "", "tool_calls": [{"function": {}}]})),
    "NUL byte": ("NUL bytes", _with(b"\0")),
    "NUL escape": ("NUL bytes", _with(rb"\u0000")),
    "bad UTF-8": ("not UTF-8", _with(b"caf\xe9")),
    "half a surrogate": ("not UTF-8", _with(rb"\ud83d")),
    "duplicate key": ("duplicate key", _twice),
    "not a number": ("not a number", lambda prompt, answer: _line(prompt=prompt, response=answer, score=float("nan"))),
    "nested deeply": (
        "nested too deeply",
        lambda prompt, answer: _line(prompt=prompt, response=answer, more=json.loads("[" * 80 + "]" * 80)),
    ),
}
"""For each way a row is faulty: the kind that ``honed data check`` calls it, and the line of a prompt and answer."""
