"""What an evaluation measured, as named lines and as a table of its groups: one source for every face."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from honed.evaluate import heldout, reliable, words
from honed.evaluate.outcome import Groups, Outcome, SegmentLoss
from honed.evaluate.rates import Rate
from honed.evaluate.suites.result import SuiteScores, Totals

LEVELS = {
    "prompt_strict": "prompts, strict",
    "prompt_loose": "prompts, loose",
    "prompt_guarded": "prompts, guarded",
    "instruction_strict": "instructions, strict",
    "instruction_loose": "instructions, loose",
}
COLUMNS = {
    "rows": "rows",
    "passes": "passes",
    "guarded": "guarded",
    "loose": "loose",
    "constant": "constant",
    "echo": "echo",
    "base": "base",
    "value": "mean value",
    "reliable": "whole families",
    "loss": "loss",
}
"""The columns that a table of groups can have, in their order, and their titles; one that nothing fills is left out."""
NOTE = (
    "Intervals are of 95 %. Floors: constant is one answer to all rows, echo the prompt given back, base the base "
    "model. Whole families: those of which all rows are passed. Loss: nats per supervised token of the ideal answers."
)
"""How the table is read."""


class Cell(NamedTuple):
    """A number as text, with its 95 % interval where it has one."""

    value: str
    span: str = ""

    def __str__(self) -> str:
        """Return both as ``71 % (52 to 86)``."""
        return f"{self.value} ({self.span})" if self.span else self.value


class Row(NamedTuple):
    """One group: its name and its cells by column."""

    name: str
    cells: Mapping[str, Cell]


class Part(NamedTuple):
    """The groups of one tag, those that are too small, and which is worst off."""

    tag: str
    rows: tuple[Row, ...]
    small: str
    worst: str


class Table(NamedTuple):
    """All rows of an evaluation, then its groups by tag. ``whole`` is None where nothing was measured."""

    columns: tuple[str, ...]
    whole: Row | None
    parts: tuple[Part, ...]


class Level(NamedTuple):
    """One way to count what a suite asks: its rate, and that of each floor by name."""

    name: str
    n: int
    rate: Cell
    floors: Mapping[str, str]


def lines(found: Outcome) -> list[tuple[str, str]]:
    """Return what was measured of all rows: a name and what is said of it. A suite's own rates are in ``levels``."""
    return [*_rates(found), *_graded(found), *_harness(found), *_losses(found)]


def levels(found: SuiteScores, base: Totals | None = None) -> list[Level]:
    """Return a suite's totals beside its floors; ``base`` are the totals of the base model, where they are known."""
    floors = {"constant": found.constant.totals, "echo": found.echo.totals, **({"base": base} if base else {})}
    said = []
    for name, title in LEVELS.items():
        rate: Rate = getattr(found.totals, name)
        shares = {floor: words.percent(getattr(totals, name).rate, 1) for floor, totals in floors.items()}
        said.append(Level(title, rate.n, _rate(rate, 1), shares))
    return said


def table(found: Outcome, digits: int = 0) -> Table:
    """Return all metrics of all rows and of each group; shares have ``digits`` after the point."""
    whole = _whole(found, digits)
    parts = tuple(
        Part(
            tag=tag,
            rows=tuple(_group(name, found, tag, digits) for name in _names(group)),
            small=words.too_few(group.small) if group.small else "",
            worst=words.behind(tag, group.worst) if group.worst else "",
        )
        for tag, group in found.groups.items()
        if group.passed or group.losses or group.small
    )
    rows = [*([whole] if whole else []), *(row for part in parts for row in part.rows)]
    filled = {column for row in rows for column in row.cells}
    return Table(tuple(column for column in COLUMNS if column in filled), whole, parts)


def _rates(found: Outcome) -> Iterator[tuple[str, str]]:
    if found.suite is None and found.pass_rate is not None and found.interval is not None:
        yield "pass rate", f"{_share(found.pass_rate)} of {found.n} ({words.span(found.interval, digits=1)})"
        if found.guarded:
            yield "guarded", f"{_rate(found.guarded, 1)}: passed by answers that aren't vacuous"
        if found.floors:
            constant = f"{_share(found.floors.constant.rate)} by always {found.floors.constant_answer!r}"
            yield "floors", f"{constant}; {_share(found.floors.echo.rate)} by echoing the prompt"
    if found.base:
        rates = f"{_rate(found.base.rate, 1)}, guarded {_share(found.base.guarded.rate)}"
        yield "base floor", f"{rates} by {found.base.model}"


def _graded(found: Outcome) -> Iterator[tuple[str, str]]:
    """Say the mean value of graded answers, and how many families of rows were passed whole."""
    if found.value:
        mean = Cell(f"{found.value.mean:.3f}", words.span(found.value.interval, 1, 3))
        yield "mean value", f"{mean}, of {found.value.n} answers graded from 0 to 1"
    for suite, one in found.reliable.items():
        whole = f"{_share(one.whole.rate)} of {one.whole.n} families ({words.span(one.whole.interval, digits=1)})"
        mean = Cell(_share(one.mean), f"{words.span(one.interval, digits=1)}, by family")
        yield f"{suite} {reliable.name(one.k)}".strip(), f"{whole}; mean of {one.rows} rows {mean}"


def _harness(found: Outcome) -> Iterator[tuple[str, str]]:
    """Say the numbers of another harness as it gives them, and which of its metrics says that a row passes."""
    if found.harness is None:
        return
    kind = f"{found.harness.harness} {found.harness.version}"
    for one in found.harness.metrics:
        error = f" (standard error {one.error:.4f})" if one.error is not None else ""
        yield kind, f"{one.task} {one.metric}: {one.value:.4f}{error}"
    for task, metric in found.harness.passed_by.items():
        yield "a row passes", f"in {task} by {metric}"


def _losses(found: Outcome) -> Iterator[tuple[str, str]]:
    """Say the held-out loss in its three forms, and what has none."""
    if found.loss is not None and found.perplexity is not None:
        ends = found.loss_interval
        loss = Cell(f"{found.loss:.4f}", words.span(ends, 1, 4) if ends else "")
        perplexity = Cell(f"{found.perplexity:.2f}", words.span(heldout.perplexity(ends), 1, 2) if ends else "")
        yield "held-out loss", f"{loss} nats per token, of {found.loss_rows} rows"
        yield "perplexity", str(perplexity)
    if found.bits_per_byte is not None:
        ends = found.bits_per_byte_interval
        yield "bits per byte", str(Cell(f"{found.bits_per_byte:.4f}", words.span(ends, 1, 4) if ends else ""))
    if found.left_out:
        yield "without a loss", f"{len(found.left_out)} rows; see left_out in the job's result.json"
    for what in found.unknown:
        yield "not known", what


def _whole(found: Outcome, digits: int) -> Row | None:
    cells = {}
    if found.pass_rate is not None and found.interval is not None:
        cells["rows"] = Cell(str(found.n))
        cells["passes"] = Cell(words.percent(found.pass_rate, digits), words.span(found.interval, digits=digits))
        if found.guarded:
            cells["guarded"] = _rate(found.guarded, digits)
        if found.suite:
            cells["loose"] = _rate(found.suite.totals.prompt_loose, digits)
        if found.floors:
            floors = {"constant": found.floors.constant, "echo": found.floors.echo}
            cells |= _floors(floors | ({"base": found.base.rate} if found.base else {}), digits)
    if found.value:
        cells["value"] = Cell(f"{found.value.mean:.3f}", words.span(found.value.interval, 1, 3))
    if found.loss is not None:
        cells.setdefault("rows", Cell(str(found.loss_rows)))
        cells["loss"] = Cell(f"{found.loss:.3f}", words.span(found.loss_interval, 1, 3) if found.loss_interval else "")
    return Row("all rows", cells) if cells else None


def _group(name: str, found: Outcome, tag: str, digits: int) -> Row:
    group = found.groups[tag]
    cells = {}
    if name in group.passed:
        cells["rows"] = Cell(str(group.passed[name].n))
        cells["passes"], cells["guarded"] = (_rate(of[name], digits) for of in (group.passed, group.guarded))
        loose = found.suite.segments.get(tag, {}).get(name) if found.suite else None
        if loose:
            cells["loose"] = _rate(loose.prompt_loose, digits)
        cells |= _floors(group.floors.get(name, {}), digits)
    if one := group.values.get(name):
        cells["value"] = Cell(f"{one.mean:.3f}", words.span(one.interval, 1, 3))
    if families := group.reliable.get(name):
        share = f"{words.percent(families.whole.rate, digits)} of {families.whole.n}"
        cells["reliable"] = Cell(share, words.span(families.whole.interval, digits=digits))
    if lost := group.losses.get(name):
        cells.setdefault("rows", Cell(str(lost.rows)))
        cells["loss"] = _loss(lost)
    return Row(words.plain(name), cells)


def _names(group: Groups) -> list[str]:
    return sorted({*group.passed, *group.losses})


def _floors(rates: Mapping[str, Rate], digits: int) -> dict[str, Cell]:
    return {floor: Cell(words.percent(rate.rate, digits)) for floor, rate in rates.items()}


def _rate(rate: Rate, digits: int) -> Cell:
    return Cell(words.percent(rate.rate, digits), words.span(rate.interval, digits=digits))


def _loss(one: SegmentLoss) -> Cell:
    return Cell(f"{one.loss:.3f}", words.span(one.interval, 1, 3))


def _share(rate: float) -> str:
    return words.percent(rate, 1)
