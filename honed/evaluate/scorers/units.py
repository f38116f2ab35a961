"""Numbers and units in free text: thousands separators, decimal points and commas, the units of everyday questions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_NUMBER = re.compile(
    r"(?<![0-9])(?P<before>[$€£]\s?)?(?P<sign>[-+−]?)(?P<before_2>[$€£]\s?)?"
    r"(?P<digits>[0-9]{1,3}(?:[ '’_\u00a0\u202f][0-9]{3})+(?![0-9])(?:[.,][0-9]+)?|[0-9]+(?:[.,][0-9]+)*"
    r"|(?<![\w.])\.[0-9]+)"
    r"(?P<power>[eE][-+]?[0-9]{1,3}(?![0-9]))?"
    r"(?:[\s\u00a0\u202f-]{0,2}(?P<unit>[%€$£]|°?[A-Za-zµ]+²?))?"
)
_GROUPS = re.compile(r"[ '’_\u00a0\u202f]")
_TABLE: Mapping[str, Mapping[str, float]] = {
    "length": {
        "mm": 0.001,
        "cm": 0.01,
        "m": 1,
        "km": 1000,
        "metre": 1,
        "meter": 1,
        "kilometre": 1000,
        "kilometer": 1000,
    },
    "mass": {"mg": 1e-6, "g": 0.001, "kg": 1, "t": 1000, "gram": 0.001, "kilogram": 1, "tonne": 1000},
    "time": {
        "ms": 0.001,
        "s": 1,
        "sec": 1,
        "second": 1,
        "min": 60,
        "minute": 60,
        "h": 3600,
        "hour": 3600,
        "day": 86400,
    },
    "volume": {"ml": 0.001, "l": 1, "litre": 1, "liter": 1},
    "share": {"%": 1, "percent": 1},
    "euro": {"€": 1, "eur": 1, "euro": 1},
    "dollar": {"$": 1, "usd": 1, "dollar": 1},
    "pound": {"£": 1, "gbp": 1},
}
_KNOWN = {name: (kind, factor) for kind, units in _TABLE.items() for name, factor in units.items()}


class Unit(NamedTuple):
    """A unit: what it measures, and how many of that kind's smallest named one it is (a ratio only)."""

    name: str
    kind: str
    factor: float


class Quantity(NamedTuple):
    """A number that was read, with its unit if it has a known one."""

    value: float
    unit: Unit | None


def unit(name: str) -> Unit | None:
    """Return a unit by its sign or name, plural too; None for one that isn't known."""
    small = name.strip().casefold()
    for candidate in (small, small.removesuffix("s")):
        if candidate in _KNOWN:
            return Unit(name.strip(), *_KNOWN[candidate])
    return None


def quantities(text: str) -> list[Quantity]:
    """Return the numbers of a text in order: ``1,250`` and ``1 250`` are 1250, ``1,5`` is 1.5, ``1.250,5`` 1250.5."""
    found = []
    for hit in _NUMBER.finditer(text):
        value = float(_plain(hit["digits"]) + (hit["power"] or ""))
        sign = -1 if hit["sign"] in ("-", "−") and not text[: hit.start("sign")][-1:].isalnum() else 1
        name = hit["before"] or hit["before_2"] or hit["unit"] or ""
        found.append(Quantity(sign * value, unit(name)))
    return found


def _plain(digits: str) -> str:
    """Return digits as Python reads them: the last of two kinds of separator is the decimal one."""
    digits = _GROUPS.sub("", digits)
    comma, dot = digits.rfind(","), digits.rfind(".")
    if comma >= 0 and dot >= 0:
        decimal = "," if comma > dot else "."
        whole, _, part = digits.rpartition(decimal)
        return f"{re.sub('[.,]', '', whole)}.{part}"
    separator = "," if comma >= 0 else "."
    parts = digits.split(separator)
    thousands = len(parts) > 2 or (separator == "," and len(parts) == 2 and len(parts[1]) == 3 and parts[0] != "0")
    return "".join(parts) if thousands else ".".join(parts)
