"""Forms that a base model can write and a tuned one should not have lost: JSON, CSV, Markdown, dates, lists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from honed.evaluate.suites.written.row import Row, Written, row

_DATES: tuple[tuple[str, str], ...] = (
    ("5 March 2024", "2024-03-05"),
    ("12 July 1999", "1999-07-12"),
    ("1 May 2030", "2030-05-01"),
    ("28 February 2011", "2011-02-28"),
    ("9 November 1989", "1989-11-09"),
    ("17 August 2008", "2008-08-17"),
    ("3 January 1975", "1975-01-03"),
    ("30 June 2019", "2019-06-30"),
    ("21 October 2045", "2045-10-21"),
    ("14 April 1932", "1932-04-14"),
)
_LISTS: tuple[tuple[str, ...], ...] = (
    ("red", "blue", "green"),
    ("cat", "dog", "fox"),
    ("one", "two", "three"),
    ("tea", "milk", "juice"),
    ("north", "south", "west"),
    ("sun", "moon", "star"),
    ("oak", "elm", "ash"),
    ("bread", "butter", "jam"),
    ("apple", "pear", "plum"),
    ("spoon", "fork", "knife"),
)
_PAIRS: tuple[tuple[str, str, str, int], ...] = (
    ("name", "Ada", "age", 36),
    ("city", "Oslo", "zip", 150),
    ("fruit", "fig", "count", 8),
    ("tool", "saw", "price", 25),
    ("bird", "owl", "eggs", 4),
    ("pupil", "Noor", "grade", 5),
    ("river", "Elbe", "bridges", 40),
    ("color", "teal", "code", 17),
    ("game", "chess", "players", 2),
    ("month", "May", "days", 31),
)
_ROMAN: tuple[tuple[int, str], ...] = (
    (4, "IV"),
    (9, "IX"),
    (12, "XII"),
    (6, "VI"),
    (15, "XV"),
    (7, "VII"),
    (14, "XIV"),
    (19, "XIX"),
    (40, "XL"),
    (21, "XXI"),
)
_WORDS: tuple[str, ...] = (
    "winter",
    "garden",
    "silver",
    "planet",
    "rocket",
    "summer",
    "kitchen",
    "golden",
    "forest",
    "engine",
)
_RANGES: tuple[tuple[int, int], ...] = (
    (1, 5),
    (3, 8),
    (10, 14),
    (6, 10),
    (2, 7),
    (4, 9),
    (11, 16),
    (20, 25),
    (13, 18),
    (8, 12),
)
_HALVES = (slice(5), slice(5, 10))


def _asked(part: slice) -> Iterator[tuple[str, str, tuple[str, dict[str, Any]], str]]:
    for said, iso in _DATES[part]:
        yield "dates", f"Write the date {said} in the form YYYY-MM-DD.", ("regex", {"pattern": rf"\b{iso}\b"}), iso
    for items in _LISTS[part]:
        ask = f"Write the words {', '.join(items)} as a JSON list of strings."
        schema = {"type": "array", "items": {"type": "string"}, "const": list(items)}
        yield "json", ask, ("json", {"schema": schema}), json.dumps(items)
    for key, text, other, number in _PAIRS[part]:
        ask = f"Write a JSON object in which {key} is the string {text} and {other} is the number {number}."
        ideal = json.dumps({key: text, other: number})
        yield "json", ask, ("json", {"fields": {key: text, other: number}}), ideal
    for items in _LISTS[part]:
        rule = r"[ \t]*\n[ \t]*".join(rf"[-*+] +{item}" for item in items)
        ask = f"Write the words {', '.join(items)} as a Markdown list, one word a line, each after a dash and a space."
        yield "markdown", ask, ("regex", {"pattern": f"(?i){rule}"}), "\n".join(f"- {item}" for item in items)
    for word in _WORDS[part]:
        ask = f"Write the word {word} in bold with Markdown."
        yield "markdown", ask, ("regex", {"pattern": rf"(?i)(?:\*\*|__){word}(?:\*\*|__)"}), f"**{word}**"
    for items in _LISTS[part]:
        ask = f"Write one line of CSV with the values {' and '.join(items)}, in this order, without spaces."
        yield "csv", ask, ("regex", {"pattern": f"(?i){re.escape(','.join(items))}"}), ",".join(items)
    for number, roman in _ROMAN[part]:
        ask = f"Write the number {number} as a Roman numeral."
        yield "numerals", ask, ("regex", {"pattern": rf"\b{roman}\b"}), roman
    for first, last in _RANGES[part]:
        every = [str(number) for number in range(first, last + 1)]
        ask = f"Write the whole numbers from {first} to {last}, separated by commas."
        yield "numerals", ask, ("regex", {"pattern": r",\s*".join(every)}), ", ".join(every)


def _rows() -> list[Row]:
    found = []
    every = (made for part in _HALVES for made in _asked(part))
    for place, (task, ask, check, ideal) in enumerate(every):
        tags = {"benefit": "forgetting", "task": f"format_{task}"}
        found.append(row(f"formats-{place:02}", ask, check, tags, ideal))
    return found


SUITE = Written("formats", "JSON, CSV, Markdown, dates and numerals", 64, _rows)
