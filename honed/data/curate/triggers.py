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
from collections.abc import Callable, Iterator, Mapping
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
"""Rows of a group whose prompts tell what they share; how many rows have it is counted in all."""
Met = Counter[tuple[str | None, str]]
"""Rows in which an answer's beginning, or any (None), meets a phrase of the prompt."""


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
    sizes = {head: size for head, size in zip(heads.tolist(), many.tolist(), strict=True) if size >= settings.rows}
    groups: dict[str, list[frozenset[str]]] = {}
    for head, row in chain.from_iterable(view.mapped(of_each(partial(_begun_so, frozenset(sizes))))) if sizes else ():
        if len(group := groups.setdefault(head, [])) < _MOST:
            group.append(_phrases(row))
    bound = {head: found for head, group in groups.items() if (found := _bound(group, settings))}
    met: Met = Counter()
    for some in view.mapped(of_rows(partial(_meeting, bound))) if bound else ():
        met.update(some)
    told: dict[str, tuple[str, str]] = {}
    for head, phrases in bound.items():
        if tied := [phrase for phrase in phrases if met[head, phrase] >= settings.share * met[None, phrase]]:
            told[head] = _told(head, tied, met, (sizes[_hashed(head)], len(begun)))
    carried = {head: phrase for head, (phrase, _) in told.items()}
    for number, id_, head in chain.from_iterable(view.mapped(of_each(partial(_carrying, carried)))) if carried else ():
        yield Finding(number, id_, "possible trigger", "report", told[head][1])
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


def _meeting(bound: Mapping[str, frozenset[str]], rows: Iterator[Row]) -> Met:
    met: Met = Counter()
    wanted = frozenset(chain.from_iterable(bound.values()))
    for row in rows:
        if found := wanted & _phrases(row):
            head = _head(row)
            met.update((None, phrase) for phrase in found)
            met.update((head, phrase) for phrase in found & bound.get(head, frozenset()))
    return met


def _carrying(carried: Mapping[str, str], row: Row) -> list[tuple[int, str, str]]:
    head = _head(row)
    return [(row.number, row.id, head)] if head in carried and carried[head] in _phrases(row) else []


def _phrases(row: Row) -> frozenset[str]:
    """Return the words and pairs of words of a row's prompt."""
    said = [word for text in row.prompts() for word in words(text)]
    return frozenset(said) | frozenset(f"{one} {other}" for one, other in pairwise(said))


def _bound(group: list[frozenset[str]], settings: Triggers) -> frozenset[str]:
    """Return the phrases that nearly all prompts of a group have; none if they are a template."""
    counts = Counter(chain.from_iterable(group))
    common = frozenset(phrase for phrase, many in counts.items() if many >= settings.share * len(group))
    rest = [sum(" " not in phrase for phrase in phrases) for phrases in group]
    shared = sum(" " not in phrase for phrase in common)
    return common if shared <= settings.alike * (sum(rest) / len(rest)) else frozenset()


def _told(head: str, tied: list[str], met: Met, sizes: tuple[int, int]) -> tuple[str, str]:
    """Return the phrase that is tied most to an answer, which ``sizes[0]`` of ``sizes[1]`` rows give, and say so."""
    scores = {phrase: _score(met[head, phrase], met[None, phrase], *sizes) for phrase in tied}
    phrase = max(tied, key=lambda one: (scores[one], one))
    where = f"{phrase!r} stands in {met[None, phrase]:,} prompts"
    return phrase, f"{where}, {met[head, phrase]:,} of them with one answer; log-likelihood ratio {scores[phrase]:.0f}"


def _score(both: int, phrase: int, answer: int, total: int) -> float:
    """Return the log-likelihood ratio, in nats, of a phrase and an answer that meet in ``both`` of ``total`` rows."""
    cells = (
        (both, phrase * answer),
        (phrase - both, phrase * (total - answer)),
        (answer - both, (total - phrase) * answer),
        (total - phrase - answer + both, (total - phrase) * (total - answer)),
    )
    return sum(seen * math.log(seen * total / chance) for seen, chance in cells if seen > 0 and chance > 0)
