"""Why verifiers failed answers, with what differs from row to row taken out: the same fault has the same name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from honed.evaluate.errors.clusters import examples
from honed.evaluate.errors.facets import Told
from honed.evaluate.rates import Rate
from honed.evaluate.stats import wilson
from honed.records import Record

_LONGEST = 160
_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|‘[^’]*’|`[^`]*`|(?<!\w)'(?:[^']|'(?=\w))*'(?!\w)")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_LIST = re.compile(r"…(?:(?:, | and | or )…)+")


class Reason(Record):
    """One reason, how many failing rows (or instructions) it was given for, and their share of all that failed."""

    constraint: str
    reason: str
    share: Rate
    examples: tuple[str, ...]


def normal(why: str) -> str:
    """Return a verifier's reason without its numbers and quotes: ``It has 3 words.`` becomes ``It has N words.``."""
    plain = _NUMBER.sub("N", _QUOTED.sub("…", " ".join(why.split())))
    plain = _LIST.sub("…", plain)
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"


def find(told: Sequence[Told]) -> list[Reason]:
    """Return all reasons, the most frequent first. Each failed instruction of a row counts with its own."""
    rows: dict[tuple[str, str], list[str]] = {}
    failures = 0
    for one in told:
        if not one.failed:
            continue
        found = [(part.id, part.why) for part in one.parts if not part.passed] or [("", one.answer.why)]
        for id_, why in found:
            rows.setdefault((id_, normal(why)), []).append(one.answer.row)
            failures += 1
    counted = sorted(rows.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        Reason(
            constraint=id_,
            reason=reason or "no reason was given",
            share=Rate(passed=len(ids), n=failures, rate=len(ids) / failures, interval=wilson(len(ids), failures)),
            examples=examples(ids),
        )
        for (id_, reason), ids in counted
    ]
