"""What a model's answers to a suite are worth: each instruction judged, the totals, the floors, the segments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from honed import registry
from honed.errors import DataError, HonedError
from honed.evaluate import families, scoring
from honed.evaluate.rates import SEGMENTS, rate, worst
from honed.evaluate.stats import SMALLEST
from honed.evaluate.suites.result import Floor, Followed, RowScore, SuiteScores, Totals
from honed.evaluate.suites.suite import Row, Suite
from honed.evaluate.vacuous import RULE, vacuous
from honed.evaluate.verifiers.families import Verdict
from honed.evaluate.verifiers.instruction import loosely
from honed.records import Score


class Judged(NamedTuple):
    """The verdict on each instruction of a row, and why the answer says nothing, or ""."""

    verdicts: Sequence[Verdict]
    vacuous: str


def score(
    suite: Suite,
    answers: Mapping[str, str],
    check: Callable[[], None] = lambda: None,
    tags: Sequence[str] = SEGMENTS,
) -> SuiteScores:
    """Judge answers by row id. ``check`` is called between rows and may raise to stop; ``tags`` are the segments'.

    Raises ``DataError`` naming the row if a verifier can't use its parameters or fails.
    """
    judged = _judged(suite, lambda row: answers.get(row.id, ""), check)
    floors = {
        text: _judged(suite, lambda _row, text=text: text, check)  # type: ignore[misc]
        for text in scoring.CONSTANTS
    }
    totals = {text: _totals(found) for text, found in floors.items()}
    best = max(totals, key=lambda text: totals[text].prompt_strict.passed)
    echo = _judged(suite, lambda row: scoring.echoed(row.conversation), check)
    segments, small = _segments(suite.rows, judged, tags)
    gaps = {
        tag: worst({name: one.prompt_strict for name, one in cells.items()}, _effects(tag, suite.rows, judged))
        for tag, cells in segments.items()
    }
    return SuiteScores(
        suite=suite.manifest.name,
        suite_hash=suite.hash,
        source=suite.manifest.source,
        licence=suite.manifest.licence,
        n=len(suite.rows),
        answered=len(answers),
        empty=sum(not text.strip() for text in answers.values()),
        totals=_totals(judged),
        constant=Floor(answer=best, totals=totals[best]),
        constants={text: found.prompt_strict.rate for text, found in totals.items()},
        echo=Floor(answer="the prompt", totals=_totals(echo)),
        instructions=_by_instruction(judged),
        guard=RULE,
        segments=segments,
        small=small,
        worst={tag: gap for tag, gap in gaps.items() if gap},
        rows=tuple(_row_score(row, found, answers) for row, found in zip(suite.rows, judged, strict=True)),
    )


def judge(row: Row, answer: str) -> list[Verdict]:
    """Return the verdict on each instruction of a row; a row of another verifier counts as one instruction."""
    check = row.check
    try:
        if check.verifier in registry.names("instructions"):
            found: list[Verdict] = registry.get("instructions", check.verifier).judge(check.params, row.prompt, answer)
            return found
        known = {check.verifier: registry.get("verifiers", check.verifier)}
        conversation = row.conversation

        def one(text: str) -> Score:
            given = scoring.judge(conversation, text, known)
            assert given is not None
            return given

        strict = one(answer)
        return [Verdict(check.verifier, strict, loosely(one, answer, strict))]
    except HonedError as error:
        raise DataError(f"row {row.id}: {error.message}", error.hint) from error


def _judged(suite: Suite, answer: Callable[[Row], str], check: Callable[[], None]) -> list[Judged]:
    found: list[Judged] = []
    for row in suite.rows:
        check()
        text = answer(row)
        found.append(Judged(judge(row, text), vacuous(row.prompt, text, row.ideal, scoring.CONSTANTS)))
    return found


def _totals(judged: Iterable[Judged]) -> Totals:
    rows = list(judged)
    strict = [[one.strict.passed for one in row.verdicts] for row in rows]
    loose = [[one.loose.passed for one in row.verdicts] for row in rows]
    return Totals(
        prompt_strict=rate(map(all, strict)),
        prompt_loose=rate(map(all, loose)),
        prompt_guarded=rate(all(passed) and not row.vacuous for passed, row in zip(strict, rows, strict=True)),
        instruction_strict=rate(one for row in strict for one in row),
        instruction_loose=rate(one for row in loose for one in row),
    )


def _by_instruction(judged: Iterable[Judged]) -> dict[str, Followed]:
    found: dict[str, list[Verdict]] = {}
    for row in judged:
        for one in row.verdicts:
            found.setdefault(one.id, []).append(one)
    return {
        name: Followed(
            strict=rate(one.strict.passed for one in found[name]), loose=rate(one.loose.passed for one in found[name])
        )
        for name in sorted(found)
    }


def _segments(
    rows: Sequence[Row], judged: Sequence[Judged], tags: Sequence[str]
) -> tuple[dict[str, dict[str, Totals]], dict[str, dict[str, int]]]:
    """Return the totals of each value of the tags that metrics are given by, and the sizes of groups too small for it.

    A tag that no row has is left out.
    """
    cells: dict[str, dict[str, list[Judged]]] = {}
    for row, found in zip(rows, judged, strict=True):
        for tag in tags:
            if tag in row.tags:
                cells.setdefault(tag, {}).setdefault(row.tags[tag], []).append(found)
    large, small = {}, {}
    for tag, group in cells.items():
        large[tag] = {value: _totals(group[value]) for value in sorted(group) if len(group[value]) >= SMALLEST}
        small[tag] = {value: len(group[value]) for value in sorted(group) if len(group[value]) < SMALLEST}
    return large, {tag: sizes for tag, sizes in small.items() if sizes}


def _effects(tag: str, rows: Sequence[Row], judged: Sequence[Judged]) -> dict[str, float]:
    """How many rows of each group carry the evidence of one independent row."""
    cells: dict[str, list[tuple[bool, str]]] = {}
    for row, found in zip(rows, judged, strict=True):
        if tag in row.tags:
            passed = all(one.strict.passed for one in found.verdicts)
            cells.setdefault(row.tags[tag], []).append((passed, families.family(row.tags, row.prompt)))
    return {name: families.rate_effect(*zip(*cell, strict=True)) for name, cell in cells.items()}


def _row_score(row: Row, found: Judged, answers: Mapping[str, str]) -> RowScore:
    single = len(row.prompt) == 1 and row.prompt[0].role == "user"
    return RowScore(
        id=row.id,
        prompt=row.prompt[0].content if single else row.prompt,
        instructions=tuple(one.id for one in found.verdicts),
        strict=tuple(one.strict.passed for one in found.verdicts),
        loose=tuple(one.loose.passed for one in found.verdicts),
        why=tuple(one.strict.why for one in found.verdicts),
        vacuous=found.vacuous,
        answered=row.id in answers,
    )
