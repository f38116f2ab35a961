"""The tables of a judging result: groups, scores by criterion, agreement by criterion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from honed.evaluate import words
from honed.evaluate.judge import kappa
from honed.evaluate.judge.contest import Contest
from honed.evaluate.judge.outcome import AnyResult, Pairwise, People, Rubric
from honed.evaluate.judge.words import rated


class Table(NamedTuple):
    """A table with its header; ``notes`` stand below it."""

    header: tuple[str, ...]
    rows: Sequence[tuple[object, ...]]
    notes: Sequence[str] = ()


def of(found: AnyResult) -> Iterator[Table]:
    """Yield the tables of a result, none that would be empty."""
    if isinstance(found, Pairwise | People):
        yield from _contests(found)
    elif isinstance(found, Rubric):
        yield from _scores(found)
    elif found.scores:
        yield Table(
            ("criterion", "answers", "the same", "one apart at most", "weighted kappa", "judge minus people"),
            [
                (
                    name,
                    one.n,
                    rated(one.exact),
                    rated(one.near),
                    kappa.said(one.kappa, one.kappa_interval),
                    kappa.said(one.bias, one.bias_interval),
                )
                for name, one in found.scores.criteria.items()
            ],
        )


def _contests(found: Pairwise | People) -> Iterator[Table]:
    if found.overall is None:
        return
    rows = [_contest("all", found.overall)]
    small = []
    for tag, groups in found.groups.items():
        rows += [_contest(f"{tag}: {words.plain(one.name)}", one) for one in groups.contests]
        if groups.small:
            small.append(f"{tag}: {words.too_few(groups.small)}")
    yield Table(("group", "n", "won", "tied", "lost", "win rate", "95 % interval", "p", "shown"), rows, small)


def _contest(name: str, one: Contest) -> tuple[object, ...]:
    return (
        name,
        one.n,
        one.won,
        one.tied,
        one.lost,
        words.percent(one.win_rate),
        words.span(one.interval),
        words.chance(one.p_adjusted, ""),
        one.verdict,
    )


def _scores(found: Rubric) -> Iterator[Table]:
    rows: list[tuple[object, ...]] = []
    small = []
    for side in found.sides:
        label = f"{side.name}, " if len(found.sides) > 1 else ""
        rows += [
            (f"{label}{name}", one.n, *_mean(one.mean, one.interval), *one.counts) for name, one in side.means.items()
        ]
        for tag, groups in side.groups.items():
            rows += [
                (f"{label}{name}, {tag}: {words.plain(group)}", one.n, *_mean(one.mean, one.interval), *one.counts)
                for group, means in groups.items()
                for name, one in means.items()
            ]
        small += [f"{tag}: {words.too_few(sizes)}" for tag, sizes in side.small.items()]
    yield Table(("criterion", "n", "mean", "95 % interval", "1", "2", "3", "4", "5"), rows, list(dict.fromkeys(small)))
    if found.changes:
        yield Table(
            ("criterion", "n", "tuned minus base", "95 % interval", "p", "shown"),
            [
                (
                    name,
                    one.n,
                    words.signed(one.difference, 2),
                    words.span(one.interval, 1, 2),
                    words.chance(one.p_adjusted, ""),
                    one.verdict,
                )
                for name, one in found.changes.items()
            ],
        )


def _mean(mean: float, interval: tuple[float, float]) -> tuple[str, str]:
    low, high = interval
    return f"{mean:.2f}", f"{low:.2f} to {high:.2f}"
