"""Adapt a piece of advice to its reader: a reading-grade and length band each, and the key facts kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from honed.builtin.desk import Audience
from honed.builtin.pools.pool import Pool
from honed.builtin.reading import read
from honed.builtin.tasks.task import Draft, Task
from honed.builtin.text import holds, sentence


@dataclass(frozen=True)
class Band:
    """What suits a reader: school grades, words in all, words in a sentence. ``rule`` says it to the model."""

    lowest: float
    highest: float
    words: tuple[int, int]
    longest: int
    contractions: bool
    rule: str
    answer: str


BANDS: Mapping[Audience, Band] = {
    "child": Band(
        lowest=-math.inf,
        highest=4,
        words=(10, 26),
        longest=10,
        contractions=True,
        rule="Rewrite at grade 4 or less: 10 to 26 words, at most 10 a sentence.",
        answer="You can help the {p}! Just {a}. Do it {t}. Well done!",
    ),
    "second_language": Band(
        lowest=-math.inf,
        highest=5,
        words=(10, 28),
        longest=12,
        contractions=False,
        rule="Rewrite in steps at grade 5 or less: 10 to 28 words, at most 12 a sentence, no contractions.",
        answer="Step 1: {A}. Step 2: Do this {t}. Then the {p} works well.",
    ),
    "expert": Band(
        lowest=12,
        highest=math.inf,
        words=(15, 36),
        longest=36,
        contractions=True,
        rule="Rewrite in technical terms at grade 12 or more: 15 to 36 words.",
        answer="Preventive maintenance procedure for the {p}: {a} {t} to preserve operational reliability and extend "
        "component durability.",
    ),
}


def _write(pool: Pool, rng: Random, audience: Audience, variant: int) -> Draft:  # noqa: ARG001
    action, time = rng.choice(pool.words.actions), rng.choice(pool.words.times)
    slots = {"p": rng.choice(pool.words.products), "a": action.says, "A": sentence(action.says), "t": time.says}
    params = {"reader": audience, "facts": [action.key, time.key]}
    answer = BANDS[audience].answer.format(**slots)
    return Draft((rng.choice(pool.wordings.advice).format(**slots), answer), params)


def _faults(params: Mapping[str, Any], answer: str) -> list[str]:
    band, reading = BANDS[params["reader"]], read(answer)
    found = [f"lost the key fact {fact!r}" for fact in params["facts"] if not holds(answer, fact)]
    if reading.grade > band.highest:
        found.append(f"reads at grade {reading.grade}, above {band.highest}")
    if reading.grade < band.lowest:
        found.append(f"reads at grade {reading.grade}, below {band.lowest}")
    if not band.words[0] <= reading.words <= band.words[1]:
        found.append(f"has {reading.words} words, not {band.words[0]} to {band.words[1]}")
    if reading.longest > band.longest:
        found.append(f"has a sentence of {reading.longest} words, over {band.longest}")
    if not band.contractions and any(mark in answer for mark in "'’"):
        found.append("has a contraction")
    return found


TASK = Task(
    name="audience",
    benefit="specificity",
    variants=1,
    needs=frozenset({"reader", "facts"}),
    rule={reader: band.rule for reader, band in BANDS.items()},
    write=_write,
    faults=_faults,
    audiences=("child", "expert", "second_language"),
)
verify = TASK.verify
