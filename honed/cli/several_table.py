"""Several models for a terminal: a line for each, then a line for each group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from honed.cli.tables import columns, plain, short

if TYPE_CHECKING:
    from honed.evaluate.rates import Rate
    from honed.evaluate.several import Group, Several, Standing, Versus

_MARKS = {"better": "▲", "worse": "▼", "not worse": "≥", "not shown": ""}


def text(found: Several) -> str:
    """Return the headline, what is shown, and the tables."""
    from honed.evaluate import gains, report_several, words

    names = [short(name, 34) for name in report_several.labels(found)]
    models = [[name, *_model(one)] for name, one in zip(names, found.models, strict=True)]
    header = ["model", "rank", "passes %", "guarded", "loss", "change", "points (95 %)", "", "p", "can show"]
    parts = [report_several.headline(found), *report_several.verdicts(found), "", columns(header, models)]
    cells = [
        [short(f"{tag}: {words.plain(group.name)}", 34), group.n, *_rates(group.passed, group.versus), *_floors(group)]
        for tag, groups in found.segments.items()
        for group in groups
    ]
    if cells:
        header = ["group", "rows", *(f"{place + 1}" for place in range(len(names))), "always", "echo"]
        parts += ["", columns(header, cells)]
        parts.append("Columns are the models in the order above.")
    parts += [f"{tag}: {words.too_few(sizes)}" for tag, sizes in found.small.items() if sizes]
    parts += found.notes
    for name, one in zip(names, found.models, strict=True):
        if one.benefits:
            parts += ["", f"{name}:", *gains.sentences(one.benefits)]
    if found.floors:
        constant, echo = (f"{100 * found.floors[floor].rate:.0f}" for floor in ("constant", "echo"))
        parts.append(
            f"Floors of all rows, %: {constant} by always {found.constant_answer!r}, {echo} by echoing the prompt."
        )
    parts.append("▲ better, ▼ worse than the first, ≥ not worse by 5 points, no mark: not shown. p: adjusted by Holm.")
    return plain("\n".join(parts))


def _model(one: Standing) -> list[object]:
    from honed.evaluate import report_several, words

    rank = f"{one.rank} ({one.rank_interval.low:.0f}-{one.rank_interval.high:.0f})"
    rates = [
        f"{100 * one.passed.rate:.0f} ({words.span(one.passed.interval)})" if one.passed else "",
        f"{100 * one.guarded.rate:.0f}" if one.guarded else "",
        f"{one.loss:.3f}" if one.loss is not None else "",
        words.signed(one.loss_change.difference, 3) if one.loss_change else "",
    ]
    return [rank, *rates, *_change(one.versus), report_several.can_show(one.power)]


def _change(one: Versus | None) -> list[str]:
    from honed.evaluate import words

    if one is None:
        return ["", "", ""]
    change = f"{words.signed(100 * one.difference)} ({words.span(one.interval)})"
    return [change, _MARKS[one.verdict], words.chance(one.p_adjusted, "")]


def _floors(group: Group) -> list[str]:
    known = group.floors
    return [f"{100 * known[floor].rate:.0f}" if floor in known else "" for floor in ("constant", "echo")]


def _rates(passed: tuple[Rate, ...], versus: tuple[Versus, ...]) -> list[str]:
    marks = ["", *(_MARKS[one.verdict] for one in versus)]
    return [f"{100 * rate.rate:.0f} {mark}".rstrip() for rate, mark in zip(passed, marks, strict=True)]
