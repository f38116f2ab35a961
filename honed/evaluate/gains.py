"""The benefits table in words: its lines as text for every face, and the sentences on what fell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from honed.evaluate import words
from honed.evaluate.benefits import SAFETY, Benefit, Benefits
from honed.evaluate.scorers import refusal, stance
from honed.evaluate.segment import Segment

LEGEND = (
    "p: exact, paired, by family of rows, two-sided, adjusted by Holm over the benefits, over all tasks and over all "
    "suites of families. reliable@k: families all k rows of which are right. Value: the mean grade of answers, from 0 "
    "to 1, with its paired bootstrap interval."
)


class Line(NamedTuple):
    """One line: its depth (0 a benefit, 1 what it consists of), its name and its cells as text, and the verdict."""

    depth: int
    name: str
    rows: str
    base: str
    tuned: str
    constant: str
    echo: str
    change: str
    p_value: str
    verdict: str


def lines(found: Benefits) -> Iterator[Line]:
    """Yield each benefit's line, then those of its parts; a benefit of one task without families is one line."""
    for benefit in found.lines:
        yield _line(0, words.plain(benefit.name), benefit.whole)
        if len(benefit.tasks) > 1:
            yield from (_line(1, words.plain(task.name), task) for task in benefit.tasks)
        yield from (_line(1, group.name, group) for group in benefit.together)
        if benefit.graded:
            yield _value(benefit)


def sentences(found: Benefits) -> list[str]:
    """Return what the table shows: which benefits rose and fell, what was forgotten."""
    said = []
    for verdict, verb in (("better", "Better"), ("worse", "Worse")):
        names = [_change(line) for line in found.lines if line.whole.verdict == verdict]
        said += [f"{verb}: {', '.join(names)}."] if names else []
    unsure = [words.plain(line.name) for line in found.lines if line.whole.verdict in ("not shown", "not worse")]
    said += [f"No difference is shown in {', '.join(unsure)}."] if unsure else []
    if found.forgotten:
        said.append(_forgotten(found))
    return said


def legend(found: Benefits) -> str:
    """Return how the table is read, and by what rules refusals and stances are judged where it has any."""
    safe = any(line.name == SAFETY for line in found.lines)
    return f"{LEGEND} {refusal.RULE} {stance.RULE}" if safe else LEGEND


def _forgotten(found: Benefits) -> str:
    assert found.forgotten is not None
    lost, won = found.forgotten.lost, found.forgotten.won
    count = sum(lost.values())
    if not count:
        return "Forgotten: nothing that the base model could do is failed now."
    shown = found.forgotten.shown
    fall = f"A fall is shown in {', '.join(map(words.plain, shown))}." if shown else "A fall is shown in no task."
    return (
        f"Forgotten: {count} answers that the base model had right are wrong now ({_counted(lost)}); "
        f"{sum(won.values())} that it had wrong are right. {fall}"
    )


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{words.plain(task)} {count}" for task, count in counts.items())


def _change(line: Benefit) -> str:
    return f"{words.plain(line.name)} {words.points(line.whole.difference)} ({words.span(line.whole.interval)})"


def _line(depth: int, name: str, one: Segment) -> Line:
    return Line(
        depth=depth,
        name=name,
        rows=str(one.n),
        base=words.percent(one.base.rate),
        tuned=words.percent(one.tuned.rate),
        constant=words.floor(one.floors, "constant"),
        echo=words.floor(one.floors, "echo"),
        change=f"{words.signed(100 * one.difference)} ({words.span(one.interval)})",
        p_value=words.chance(one.p_adjusted, ""),
        verdict=one.verdict,
    )


def _value(benefit: Benefit) -> Line:
    one = benefit.graded
    assert one is not None
    change = f"{words.signed(one.difference, 2)} ({words.span(one.interval, 1, 2)})"
    return Line(
        depth=1,
        name="value",
        rows=str(one.n),
        base=f"{one.base:.2f}",
        tuned=f"{one.tuned:.2f}",
        constant="",
        echo="",
        change=change,
        p_value=words.chance(one.p_value, ""),
        verdict="",
    )
