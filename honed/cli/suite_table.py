"""Scores for a terminal: a suite's totals beside their floors and each type of instruction; and any groups of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from honed.cli.tables import columns, facts, plain
from honed.evaluate import words

if TYPE_CHECKING:
    from honed.evaluate.outcome import Outcome
    from honed.evaluate.rates import Rate
    from honed.evaluate.suites.result import SuiteScores, Totals
    from honed.evaluate.suites.stored import Matched
    from honed.evaluate.summary import Row

_SHOWN = 5  # of each kind of note; all are in the JSON document


def table(found: SuiteScores, base: Totals | None = None) -> str:
    """Return the totals with their floors, among them the base model's totals, and the instructions, worst first."""
    from honed.evaluate import summary

    licence = f" ({found.licence})" if found.licence else ""
    head = facts(
        [
            ("suite", f"{plain(found.suite)}{licence}, {found.n} prompts"),
            ("answered", f"{found.answered}, of which {found.empty} are empty; what is missing or empty fails"),
            ("constant floor", f"always {found.constant.answer!r}"),
        ]
    )
    levels = summary.levels(found, base)
    totals = columns(
        ["followed", "of", "rate", "95 % interval", *(f"{floor} floor" for floor in levels[0].floors)],
        [[one.name, one.n, *one.rate, *one.floors.values()] for one in levels],
    )
    ranked = sorted(found.instructions.items(), key=lambda item: (item[1].strict.rate, item[0]))
    types = columns(
        ["instruction", "of", "strict", "95 % interval", "loose"],
        [[plain(name), one.strict.n, *_rate(one.strict), words.percent(one.loose.rate, 1)] for name, one in ranked],
    )
    return "\n\n".join([head, totals, types])


def groups(found: Outcome) -> list[str]:
    """Return every metric by group as a table, then which groups are too small and which are worst off."""
    from honed.evaluate import summary

    made = summary.table(found, digits=1)
    shown = made.columns[1:]
    titles = [summary.COLUMNS[one] for one in shown]
    header = ["group", "rows", *(f"{one}, 95 %" if one == "passes" else one for one in titles)]
    cells = [
        [plain(f"{part.tag}: {row.name}"), int(row.cells["rows"].value), *(_cell(row, column) for column in shown)]
        for part in made.parts
        for row in part.rows
    ]
    said = [f"{part.tag}: {part.small}" for part in made.parts if part.small]
    said += [f"worst: {part.worst}" for part in made.parts if part.worst]
    return [*([columns(header, cells)] if cells else []), *([plain("\n".join(said))] if said else [])]


def notes(matched: Matched) -> Iterator[str]:
    """Yield what didn't fit between answers and suite: counted, and the first of each kind by file and line."""
    kinds = {
        "prompts are not in the suite and are left out": matched.unknown,
        "prompts occur again, and the last answer counts": matched.repeated,
        "rows of the suite have no answer and fail": matched.missing,
    }
    for said, places in kinds.items():
        if places:
            yield f"{len(places)} {said}:"
            yield from (f"  {plain(place)}" for place in places[:_SHOWN])
            if len(places) > _SHOWN:
                yield f"  and {len(places) - _SHOWN} more; --json lists all"


def _cell(row: Row, column: str) -> str:
    """A number; its interval too where it is the pass rate, for which there is room."""
    cell = row.cells.get(column)
    return "" if cell is None else str(cell) if column == "passes" else cell.value


def _rate(rate: Rate) -> tuple[str, str]:
    return words.percent(rate.rate, 1), words.span(rate.interval, digits=1)
