"""How sure held-out losses are: intervals of the loss per token and per byte, by drawing families of rows again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from honed.evaluate import stats
from honed.evaluate.outcome import RowLoss
from honed.evaluate.stats import RESAMPLES, Interval

_MANY = 2_000  # families from which fewer draws do: with as many, each draw takes long and the ends hardly move


def per_token(lines: Sequence[RowLoss], family: Mapping[str, str]) -> Interval | None:
    """Return the interval of the loss in nats per supervised token; ``family`` names each row's. None without rows."""
    return _interval([(line.nats, line.tokens, family[line.row]) for line in lines])


def per_byte(lines: Sequence[RowLoss], family: Mapping[str, str]) -> Interval | None:
    """Return the interval of the loss in bits for each byte of text; None without rows, or where one has no text."""
    return _interval([(line.nats / math.log(2), line.bytes, family[line.row]) for line in lines])


def perplexity(loss: Interval) -> Interval:
    """Return the interval of the perplexity: e to the loss, which keeps the order of the draws."""
    return Interval(math.exp(loss.low), math.exp(loss.high))


def _interval(rows: Sequence[tuple[float, int, str]]) -> Interval | None:
    if not rows or not all(size for _, size, _ in rows):
        return None
    sums: dict[str, tuple[float, float]] = {}
    for value, size, name in rows:
        total, weight = sums.get(name, (0.0, 0.0))
        sums[name] = (total + value, weight + size)
    draws = RESAMPLES if len(sums) <= _MANY else RESAMPLES // 5
    totals, weights = ([pair[at] for pair in sums.values()] for at in (0, 1))
    return stats.bootstrap(totals, weights, resamples=draws)
