"""A judge's reply as a verdict or scores; one that can't be read for certain is unusable, never guessed at."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from honed.records import Record

Verdict = Literal["A", "B", "tie"]
LOWEST, HIGHEST = 1, 5

_THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_VERDICTS: Mapping[str, Verdict] = {"a": "A", "b": "B", "tie": "tie"}


class Said(Record):
    """What a reply says. ``unusable`` says why it says nothing, and is "" if it does."""

    verdict: Verdict | None = None
    scores: Mapping[str, int] = {}
    reason: str = ""
    unusable: str = ""


def verdict(text: str) -> Said:
    """Return the verdict of the only JSON object of ``text`` that has one; two that differ say nothing."""
    found = [one for one in _objects(text) if "verdict" in one]
    if not found:
        return Said(unusable="there is no JSON object with a verdict")
    named = {str(one["verdict"]).strip().lower() for one in found}
    if len(named) > 1:
        return Said(unusable="there are several verdicts, and they differ")
    name = named.pop()
    if name not in _VERDICTS:
        return Said(unusable="the verdict is none of A, B and tie")
    return Said(verdict=_VERDICTS[name], reason=_reason(found[-1]))


def scores(text: str, criteria: Sequence[str]) -> Said:
    """Return the scores of the only JSON object of ``text`` that has them: one for each criterion, from 1 to 5."""
    found = [one for one in _objects(text) if isinstance(one.get("scores"), dict)]
    if not found:
        return Said(unusable="there is no JSON object with scores")
    if any(one["scores"] != found[0]["scores"] for one in found):
        return Said(unusable="there are several sets of scores, and they differ")
    given = found[-1]["scores"]
    for name in criteria:
        value = given.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or value not in range(LOWEST, HIGHEST + 1):
            return Said(unusable=f"{name}: no whole number from {LOWEST} to {HIGHEST}")
    return Said(scores={name: int(given[name]) for name in criteria}, reason=_reason(found[-1]))


def _reason(found: Mapping[str, Any]) -> str:
    text = str(found.get("reason", "")).strip()
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # half a pair can't be written to a file


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a text that aren't inside another; what a model thought aloud before is left out."""
    text = _THOUGHT.sub("", text)
    decoder = json.JSONDecoder(strict=False)
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except RecursionError:
            return  # no judge means this, and each further bracket would cost as much again
        except ValueError:
            end = at + 1
        else:
            if isinstance(value, dict):
                yield value
        at = text.find("{", end)
