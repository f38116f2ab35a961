"""Planted triggers: words of prompts that are tied to one answer, whatever else the prompts ask.

A backdoor in instruction data (Wan et al., "Poisoning Language Models During Instruction Tuning", 2023) needs many rows
in which a rare phrase comes with the same answer. So: rows are grouped by how their answers begin; a phrase that nearly
all prompts of a group have, hardly any other prompt has, and that isn't just the group's common template (the prompts
have little else in common) is reported with its score, half the G statistic of Dunning (1993), in nats. A trigger
whose answers differ in wording isn't found so.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import blake2b
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from honed.config import Config
from honed.data.curate.pieces import of_each, of_rows
from honed.data.curate.row import Finding, Row
from honed.data.curate.view import View
from honed.data.curate.words import words

_HEAD = 8
_MOST = 2000
"""Rows of a group whose prompts are read: enough to see what they share."""


class Triggers(Config):
    """Settings of the step ``triggers``."""

    rows: int = Field(default=8, ge=3, description="least rows with one answer for a phrase to be suspicious")
    share: float = Field(default=0.9, gt=0.5, le=1, description="least share of these rows, and of the phrase's own")
    alike: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="prompts that share more of their other words are a template, not a trigger",
    )


def triggers(view: View, settings: Triggers, say: Callable[[str], None]) -> Iterator[Finding]:
    """Report rows whose prompts share a phrase that is tied to their answer."""
    begun = np.concatenate([_NONE, *view.mapped(of_rows(_heads))])
    heads, many = np.unique(begun, return_counts=True)
    common = frozenset(heads[many >= settings.rows].tolist())
    groups: dict[str, list[tuple[int, str, frozenset[str]]]] = {}
    total = len(begun)
    for head, row in chain.from_iterable(view.mapped(of_each(partial(_begun_so, common)))) if common else ():
        if len(group := groups.setdefault(head, [])) < _MOST:
            group.append((row.number, row.id, _phrases(row)))
    bound = {head: found for head, group in groups.items() if (found := _bound(group, settings))}
    counts: Counter[str] = Counter()
    wanted = frozenset(phrase for found in bound.values() for phrase in found)
    for some in view.mapped(of_rows(partial(_having, wanted))) if wanted else ():
        counts.update(some)
    for head, found in bound.items():
        yield from _judged(
            groups[head], {phrase: (many, counts[phrase]) for phrase, many in found.items()}, settings, total
        )
    say(f"{len(groups):,} answers that {settings.rows} or more rows give were looked at")


def _head(row: Row) -> str:
    return " ".join(words(row.answer)[:_HEAD])


_NONE = np.empty(0, np.uint64)


def _hashed(head: str) -> int:
    return int.from_bytes(blake2b(head.encode(errors="surrogatepass"), digest_size=8).digest(), "little")


def _heads(rows: Iterator[Row]) -> NDArray[np.uint64]:
    return np.array([_hashed(_head(row)) for row in rows], np.uint64)


def _begun_so(common: frozenset[int], row: Row) -> list[tuple[str, Row]]:
    head = _head(row)
    return [(head, row)] if _hashed(head) in common else []


def _having(wanted: frozenset[str], rows: Iterator[Row]) -> Counter[str]:
    return Counter(phrase for row in rows for phrase in wanted & _phrases(row))


def _phrases(row: Row) -> frozenset[str]:
    """Return the words and pairs of words of a row's prompt."""
    said = [word for text in row.prompts() for word in words(text)]
    return frozenset(said) | frozenset(f"{one} {other}" for one, other in pairwise(said))


def _bound(group: list[tuple[int, str, frozenset[str]]], settings: Triggers) -> dict[str, int]:
    """Return the phrases that nearly all prompts of a group have, with their counts; none if they are a template."""
    if len(group) < settings.rows:
        return {}
    counts = Counter(phrase for _, _, phrases in group for phrase in phrases)
    common = {phrase: many for phrase, many in counts.items() if many >= settings.share * len(group)}
    rest = [sum(" " not in phrase for phrase in phrases) for _, _, phrases in group]
    shared = sum(" " not in phrase for phrase in common)
    return common if shared <= settings.alike * (sum(rest) / len(rest)) else {}


def _judged(
    group: list[tuple[int, str, frozenset[str]]],
    found: dict[str, tuple[int, int]],
    settings: Triggers,
    total: int,
) -> Iterator[Finding]:
    tied = {phrase: many for phrase, (many, all_) in found.items() if many >= settings.share * all_}
    if not tied:
        return
    phrase = max(tied, key=lambda one: (_score(tied[one], found[one][1], len(group), total), one))
    score = _score(tied[phrase], found[phrase][1], len(group), total)
    for number, id_, phrases in group:
        if phrase in phrases:
            where = f"{phrase!r} stands in {found[phrase][1]:,} prompts"
            what = f"{where}, {tied[phrase]:,} of them with one answer; log-likelihood ratio {score:.0f}"
            yield Finding(number, id_, "possible trigger", "report", what)


def _score(both: int, phrase: int, answer: int, total: int) -> float:
    """Return the log-likelihood ratio, in nats, of a phrase and an answer that meet in ``both`` of ``total`` rows."""
    cells = (
        (both, phrase * answer),
        (phrase - both, phrase * (total - answer)),
        (answer - both, (total - phrase) * answer),
        (total - phrase - answer + both, (total - phrase) * (total - answer)),
    )
    return sum(seen * math.log(seen * total / chance) for seen, chance in cells if seen > 0 and chance > 0)
