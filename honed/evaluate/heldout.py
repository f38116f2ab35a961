"""How sure held-out losses are: intervals of the loss per token and per byte, by drawing families of rows again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from honed.evaluate import families, stats
from honed.evaluate.outcome import Answer, RowLoss
from honed.evaluate.stats import RESAMPLES, Interval

_MANY = 2_000  # families from which fewer draws do: with as many, each draw takes long and the ends hardly move


def family(line: RowLoss, answer: Answer | None) -> str:
    """Return the family of a loss's row; where it wasn't written, that of its answer, or without one the row alone."""
    return line.family or (families.family(answer.tags, answer.prompt) if answer else line.row)


def summed(
    losses: Sequence[Mapping[str, RowLoss]], answers: Mapping[str, Answer], rows: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return nats, a line for each family of ``rows`` and a column for each model, and the families' tokens.

    ``losses`` are the models', ``answers`` those of the first.
    """
    names = [family(losses[0][row], answers.get(row)) for row in rows]
    lines = {name: at for at, name in enumerate(dict.fromkeys(names))}
    nats, tokens = np.zeros((len(lines), len(losses))), np.zeros(len(lines))
    for row, name in zip(rows, names, strict=True):
        nats[lines[name]] += [one[row].nats for one in losses]
        tokens[lines[name]] += losses[0][row].tokens
    return nats, tokens


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
