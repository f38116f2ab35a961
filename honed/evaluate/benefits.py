"""What a tuned model gained and lost, by benefit: precision, context, misinterpretation, audience, forgetting, safety.

Made where rows are of suites (the tag ``suite``) and name a ``benefit``; all numbers are of those rows alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from honed.builtin import reading
from honed.evaluate import graded, reliable
from honed.evaluate.graded import GradedChange, Values
from honed.evaluate.segment import Judged, Segment, adjusted, segment
from honed.evaluate.stats import SMALLEST
from honed.records import Record

BENEFIT, TASK, AUDIENCE = "benefit", "task", "audience"
FORGETTING, SAFETY = "forgetting", "safety"
ORDER = ("precision", "specificity", "context", "misinterpretation", "audience", FORGETTING, SAFETY)
"""How benefits are listed; others that rows name come after them."""


K = TypeVar("K", str, tuple[str, str])


class Row(NamedTuple):
    """One row under both models: its verdicts, its values (or None) and what was answered."""

    id: str
    tags: Mapping[str, str]
    judged: Judged
    values: tuple[float | None, float | None]
    answers: tuple[str, str]


class Benefit(Record):
    """One benefit: all its rows, each of its tasks, families passed whole (one line a suite), and mean values.

    P-values of ``whole`` are adjusted over all benefits, those of ``tasks`` over all tasks, those of ``together`` over
    all suites with families; ``together`` counts families, and is named by suite and number of rows.
    """

    name: str
    whole: Segment
    tasks: tuple[Segment, ...]
    together: tuple[Segment, ...]
    graded: GradedChange | None


class Style(Record):
    """How answers to one audience read: mean school grade and mean number of words, of both models."""

    audience: str
    n: int
    base_grade: float
    tuned_grade: float
    base_words: float
    tuned_words: float


class Forgotten(Record):
    """Rows of ``forgetting`` that the base passes and the tuned model fails, and the other way, by task.

    ``rows`` are the ids of the lost ones; ``shown`` the tasks of which a fall is shown.
    """

    lost: Mapping[str, int]
    won: Mapping[str, int]
    rows: tuple[str, ...]
    shown: tuple[str, ...]


class Benefits(Record):
    """The table: the benefits in their order, how style differs between audiences, and what was forgotten."""

    lines: tuple[Benefit, ...]
    styles: tuple[Style, ...]
    forgotten: Forgotten | None


def benefits(rows: Sequence[Row], smallest: int = SMALLEST) -> Benefits | None:
    """Return the table, or None if no row of a suite names a benefit. Groups of too few rows have no line."""
    rows = [row for row in rows if BENEFIT in row.tags and reliable.SUITE in row.tags]
    cells = _by(rows, BENEFIT, smallest)
    by = {name: cells[name] for name in (*ORDER, *sorted(cells.keys() - set(ORDER))) if name in cells}
    if not by:
        return None
    wholes = _segments(by)
    tasks = _segments({(name, task): cell for name in by for task, cell in _by(by[name], TASK, smallest).items()})
    whole_families = _segments(
        {(name, label): cell for name in by for label, cell in _together(by[name]).items() if len(cell) >= smallest}
    )
    lines = tuple(
        Benefit(
            name=name,
            whole=wholes[name],
            tasks=tuple(one for key, one in tasks.items() if key[0] == name),
            together=tuple(one for key, one in whole_families.items() if key[0] == name),
            graded=graded.change(list(_values(by[name]))),
        )
        for name in by
    )
    return Benefits(lines=lines, styles=_styles(rows, smallest), forgotten=_forgotten(lines, by.get(FORGETTING, [])))


def _by(rows: Iterable[Row], tag: str, smallest: int) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if tag in row.tags:
            found.setdefault(row.tags[tag], []).append(row)
    return {name: found[name] for name in sorted(found) if len(found[name]) >= smallest}


def _segments(cells: Mapping[K, Sequence[Row]]) -> dict[K, Segment]:
    names = [key if isinstance(key, str) else key[-1] for key in cells]
    made = [segment(name, [row.judged for row in cell]) for name, cell in zip(names, cells.values(), strict=True)]
    return dict(zip(cells, adjusted(made), strict=True))


def _together(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Each suite's families as rows of their own, which pass if all of theirs do."""
    return {
        f"{suite}: {reliable.name(reliable.size(groups))}": [_whole(group) for group in groups]
        for suite, groups in reliable.together(rows).items()
    }


def joined(every: Sequence[Judged]) -> Judged:
    """Return the rows of a family as one, which passes if all of them do."""
    return Judged(
        before=all(one.before for one in every),
        after=all(one.after for one in every),
        before_guarded=all(one.before_guarded for one in every),
        after_guarded=all(one.after_guarded for one in every),
        floors={
            name: all(one.floors[name] for one in every)
            for name in every[0].floors
            if all(name in one.floors for one in every)
        },
        family=every[0].family,
    )


def _whole(group: Sequence[Row]) -> Row:
    return group[0]._replace(judged=joined([row.judged for row in group]))


def _values(rows: Iterable[Row]) -> Iterable[Values]:
    for row in rows:
        before, after = row.values
        if before is not None and after is not None:
            yield Values(before, after, row.judged.family)


def _styles(rows: Sequence[Row], smallest: int) -> tuple[Style, ...]:
    found = []
    for audience, cell in _by(rows, AUDIENCE, smallest).items():
        before, after = ([reading.read(row.answers[side]) for row in cell] for side in (0, 1))
        found.append(
            Style(
                audience=audience,
                n=len(cell),
                base_grade=_mean(one.grade for one in before),
                tuned_grade=_mean(one.grade for one in after),
                base_words=_mean(one.words for one in before),
                tuned_words=_mean(one.words for one in after),
            )
        )
    return tuple(found)


def _forgotten(lines: Sequence[Benefit], rows: Sequence[Row]) -> Forgotten | None:
    tasks = next((line.tasks for line in lines if line.name == FORGETTING), None)
    if tasks is None:
        return None
    lost = [row for row in rows if row.judged.before and not row.judged.after]
    won = [row for row in rows if row.judged.after and not row.judged.before]
    shown = tuple(task.name for task in tasks if task.verdict == "worse")
    known = {task.name for task in tasks}  # a task of too few rows is told by no number, and its rows count in none
    lost, won = ([row for row in side if row.tags.get(TASK, "") in known] for side in (lost, won))
    return Forgotten(lost=_counts(lost), won=_counts(won), rows=tuple(row.id for row in lost), shown=shown)


def _counts(rows: Iterable[Row]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        task = row.tags.get(TASK, "")
        found[task] = found.get(task, 0) + 1
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return round(sum(known) / len(known), 2)
