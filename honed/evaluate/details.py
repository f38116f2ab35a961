"""What changed between two models beside their pass rates, as lines for every face: losses, values, whole families."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from honed.evaluate import words
from honed.evaluate.compare import Comparison, Detail

LEGEND = (
    "Loss: nats per supervised token, p by Wilcoxon's test. Value: the mean of answers graded from 0 to 1, p by "
    "turning signs at random. Whole families: those of which all rows are passed, p exact. Of groups, p is adjusted by "
    "Holm within each tag."
)


class Line(NamedTuple):
    """One measure of all rows (``tag`` "") or of a group: how many rows or families, both models, the change, and p."""

    tag: str
    name: str
    measure: str
    n: int
    base: str
    tuned: str
    change: str
    p_value: str


def lines(found: Comparison) -> list[Line]:
    """Return what else changed, of all rows and then of each group; none where only passes were measured."""
    said = list(_lines("", "all rows", Detail(loss=found.loss, graded=found.graded, together=found.together)))
    for tag, groups in found.details.items():
        for name, one in groups.items():
            said += _lines(tag, words.plain(name), one)
    return said


def _lines(tag: str, name: str, one: Detail) -> Iterator[Line]:
    if one.loss:
        ends = f"{one.loss.base:.3f}", f"{one.loss.tuned:.3f}"
        change = f"{words.signed(one.loss.difference, 3)} ({words.span(one.loss.interval, 1, 3)})"
        yield Line(tag, name, "loss", one.loss.rows, *ends, change, words.chance(one.loss.p_value, ""))
    if one.graded:
        ends = f"{one.graded.base:.2f}", f"{one.graded.tuned:.2f}"
        change = f"{words.signed(one.graded.difference, 2)} ({words.span(one.graded.interval, 1, 2)})"
        yield Line(tag, name, "value", one.graded.n, *ends, change, words.chance(one.graded.p_value, ""))
    if one.together:
        ends = words.percent(one.together.base.rate), words.percent(one.together.tuned.rate)
        change = f"{words.signed(100 * one.together.difference)} ({words.span(one.together.interval)})"
        yield Line(
            tag, name, "whole families", one.together.n, *ends, change, words.chance(one.together.p_adjusted, "")
        )
