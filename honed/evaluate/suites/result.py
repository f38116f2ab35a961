"""What the scores of a suite hold: totals, floors, types of instruction, segments and rows."""

from __future__ import annotations

from collections.abc import Mapping

from honed.evaluate.rates import Rate, Worst
from honed.records import Message, Record


class Totals(Record):
    """Shares with 95 % Wilson intervals: of prompts all of whose instructions are followed, and of instructions.

    Loose rates count an answer that passes without its first or last line, or its asterisks; ``prompt_guarded`` counts
    strict passes by answers that aren't vacuous (the rule is in ``honed.evaluate.vacuous``).
    """

    prompt_strict: Rate
    prompt_loose: Rate
    prompt_guarded: Rate
    instruction_strict: Rate
    instruction_loose: Rate


class Followed(Record):
    """How often one type of instruction is followed."""

    strict: Rate
    loose: Rate


class Floor(Record):
    """What an answer that reads nothing would score on the same rows."""

    answer: str
    totals: Totals


class RowScore(Record):
    """The verdicts on one row, one for each of its instructions; ``why`` is of the strict ones.

    ``vacuous`` is why the answer says nothing, or "".
    """

    id: str
    prompt: str | tuple[Message, ...]
    instructions: tuple[str, ...]
    strict: tuple[bool, ...]
    loose: tuple[bool, ...]
    why: tuple[str, ...]
    vacuous: str
    answered: bool


class SuiteScores(Record):
    """The result of a suite. A row without an answer, or with an empty one, counts as failed.

    ``constants`` are the strict prompt-level rates of all constant answers that were tried; ``constant`` is the best.
    ``guard`` is the rule of guarded passes; groups of too few rows are in ``small`` with their sizes only; ``worst`` is
    each tag's group with the lowest strict rate of prompts.
    """

    suite: str
    suite_hash: str
    source: str
    licence: str
    n: int
    answered: int
    empty: int
    totals: Totals
    constant: Floor
    constants: Mapping[str, float]
    echo: Floor
    instructions: Mapping[str, Followed]
    guard: str
    segments: Mapping[str, Mapping[str, Totals]]
    small: Mapping[str, Mapping[str, int]]
    worst: Mapping[str, Worst]
    rows: tuple[RowScore, ...]
