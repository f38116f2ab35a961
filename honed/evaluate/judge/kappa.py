"""How far those who judge agree beyond chance: Cohen's kappa for two, Krippendorff's alpha for any number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from honed.evaluate.stats import LEVEL, Interval
from honed.evaluate.words import signed, span

RESAMPLES = 2_000


def cohen(first: Sequence[Hashable], second: Sequence[Hashable], *, squared: bool = False) -> float | None:
    """Return Cohen's kappa of two equally long lists of labels; None where both name one label only.

    ``squared`` weighs each disagreement by its squared distance, for labels that are numbers. J. Cohen, "A coefficient
    of agreement for nominal scales", Educational and Psychological Measurement 20 (1960); weighted: J. Cohen,
    Psychological Bulletin 70 (1968).
    """
    labels, table = _table(first, second)
    value = _kappas(table[None].astype(np.float64), _distances(labels, squared))[0]
    return None if np.isnan(value) else float(value)


def cohen_interval(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    *,
    squared: bool = False,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """Return the percentile interval of Cohen's kappa when items are drawn again; the same seed, the same interval.

    A draw in which both name one label only has no kappa, and counts as 0: nothing is shown by it.
    """
    labels, table = _table(first, second)
    n = len(first)
    drawn = np.random.default_rng(seed).multinomial(n, table.ravel() / n, size=RESAMPLES)
    values = _kappas(drawn.reshape(-1, *table.shape).astype(np.float64), _distances(labels, squared))
    return _tails(np.nan_to_num(values, nan=0.0), level)


def krippendorff(items: Sequence[Sequence[Hashable]]) -> float | None:
    """Return alpha for nominal labels; each item holds the labels it got, from one rater or any number of them.

    Items with a single label can't agree and are left out. None where fewer than two kinds of label were given.
    K. Krippendorff, "Content Analysis" (2004), chapter 11.
    """
    return _alpha([Counter(labels) for labels in items if len(labels) > 1])


def krippendorff_interval(items: Sequence[Sequence[Hashable]], *, seed: int = 0, level: float = LEVEL) -> Interval:
    """Return the percentile interval of alpha when items are drawn again."""
    counted = [Counter(labels) for labels in items if len(labels) > 1]
    random = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES // 4):
        value = _alpha([counted[at] for at in random.integers(0, len(counted), len(counted))])
        found.append(0.0 if value is None else value)
    return _tails(np.array(found), level)


def said(value: float | None, interval: Interval | None) -> str:
    """Return a coefficient with its interval, to two digits; one that isn't there is undefined."""
    if value is None or interval is None:
        return "undefined"
    return f"{signed(value, 2).removeprefix('+')} ({span(interval, 1, 2)})"


def _alpha(items: Sequence[Counter[Hashable]]) -> float | None:
    totals: Counter[Hashable] = Counter()
    apart = 0.0
    for item in items:
        count = item.total()
        totals.update(item)
        apart += (count * count - sum(n * n for n in item.values())) / (count - 1)
    every = totals.total()
    expected = every * every - sum(n * n for n in totals.values())
    return None if expected == 0 else 1 - (every - 1) * apart / expected


def _table(first: Sequence[Hashable], second: Sequence[Hashable]) -> tuple[list[Hashable], NDArray[np.int64]]:
    assert len(first) == len(second) > 0
    labels = sorted({*first, *second}, key=repr)
    at = {label: place for place, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for one, other in zip(first, second, strict=True):
        table[at[one], at[other]] += 1
    return labels, table


def _distances(labels: Sequence[Hashable], squared: bool) -> NDArray[np.float64]:
    if not squared:
        return 1.0 - np.eye(len(labels))
    values = np.array([float(str(label)) for label in labels])
    found: NDArray[np.float64] = (values[:, None] - values[None, :]) ** 2
    return found


def _kappas(tables: NDArray[np.float64], distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kappa of each of many tables (draws x labels x labels); NaN where chance alone explains all."""
    n = tables.sum(axis=(1, 2))
    seen = (tables * distances).sum(axis=(1, 2)) / n
    chance = tables.sum(axis=2)[:, :, None] * tables.sum(axis=1)[:, None, :]
    expected = (chance * distances).sum(axis=(1, 2)) / n**2
    found: NDArray[np.float64] = np.where(expected > 0, 1 - seen / np.where(expected > 0, expected, 1), np.nan)
    return found


def _tails(values: NDArray[np.float64], level: float) -> Interval:
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))
