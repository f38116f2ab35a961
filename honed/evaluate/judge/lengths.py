"""The win rate that answers of equal length would have: a logistic model of verdicts with a term for length."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from honed.evaluate.stats import LEVEL, Interval
from honed.records import Record

PENALTY = 0.1
"""Weight of the squared length term in the fit: a normal prior of standard deviation 2.2, which is vague."""
_STEPS = 100

Numbers = NDArray[np.float64]


class LengthControlled(Record):
    """The length-controlled win rate, and what length did: ``effect`` is the weight of the length term.

    Above 0 the longer answer wins more often. ``longer`` is the share of prompts whose tuned answer is the longer one.
    """

    win_rate: float
    interval: Interval
    effect: float
    effect_interval: Interval
    longer: float


class _Fit(NamedTuple):
    weights: Numbers
    covariance: Numbers


def controlled(
    scores: Sequence[float],
    tuned: Sequence[int],
    base: Sequence[int],
    families: Sequence[Hashable],
    level: float = LEVEL,
) -> LengthControlled:
    """Return the win rate at equal lengths. ``scores`` are 1 where the tuned answer won, 0.5 for a tie, 0 else.

    ``tuned`` and ``base`` are the answers' lengths in characters. The model is
    ``logit P(tuned wins) = theta + phi * tanh(d / sd(d))`` with ``d`` the difference of lengths; the rate is that of
    ``d = 0``. Y. Dubois, B. Galambosi, P. Liang, T. B. Hashimoto, "Length-Controlled AlpacaEval: A Simple Way to Debias
    Automatic Evaluators" (2024), sections 3 and 4. Their third term, how hard an instruction is for one model more
    than for the other, is estimated from many models; with two it can't be told from their verdicts and is left out.
    Half a win and half a loss at equal length are added, so that the rate is never quite 0 or 1 and the interval never
    of zero width. The interval is the delta method's on the logit scale, its variance the one that holds for families
    of rows: K.-Y. Liang, S. L. Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 73
    (1986).
    """
    wins = np.asarray(scores, dtype=np.float64)
    difference = np.asarray(tuned, dtype=np.float64) - np.asarray(base, dtype=np.float64)
    assert len(wins) == len(difference) == len(families) > 0
    spread = float(difference.std())
    term = np.tanh(difference / spread) if spread > 0 else np.zeros_like(difference)
    fit = _fitted(term, wins, families)
    z = float(ndtri((1 + level) / 2))
    arms = [z * sqrt(max(0.0, float(fit.covariance[at, at]))) for at in (0, 1)]
    theta, effect = (float(weight) for weight in fit.weights)
    return LengthControlled(
        win_rate=float(expit(theta)),
        interval=Interval(float(expit(theta - arms[0])), float(expit(theta + arms[0]))),
        effect=effect,
        effect_interval=Interval(effect - arms[1], effect + arms[1]),
        longer=float((difference > 0).mean()),
    )


def _fitted(term: Numbers, wins: Numbers, families: Sequence[Hashable]) -> _Fit:
    """Fit by Newton's method; the two half rows that are added count as families of their own."""
    columns = np.stack([np.ones(len(term) + 2), np.append(term, [0.0, 0.0])], axis=1)
    target, count = np.append(wins, [1.0, 0.0]), np.append(np.ones(len(wins)), [0.5, 0.5])
    penalty = np.diag([0.0, PENALTY])
    weights = np.zeros(2)
    for _ in range(_STEPS):
        chance = expit(columns @ weights)
        slope = columns.T @ (count * (target - chance)) - 2 * penalty @ weights
        bend = _bend(columns, count * chance * (1 - chance), penalty)
        step = np.linalg.solve(bend, slope)
        weights = weights + step / max(1.0, float(np.abs(step).max()))  # never further than 1: it can't overshoot
        if float(np.abs(step).max()) < 1e-10:
            break
    chance = expit(columns @ weights)
    left = columns * (count * (target - chance))[:, None]
    places: dict[Hashable, int] = {}
    cluster = [places.setdefault(name, len(places)) for name in families]
    sums = np.zeros((len(places) + 2, 2))
    np.add.at(sums, np.array([*cluster, len(places), len(places) + 1]), left)
    few = len(places) / (len(places) - 1) if len(places) > 1 else 1.0
    inverse = np.linalg.inv(_bend(columns, count * chance * (1 - chance), penalty))
    return _Fit(weights, few * inverse @ (sums.T @ sums) @ inverse)


def _bend(columns: Numbers, heft: Numbers, penalty: Numbers) -> Numbers:
    found: Numbers = columns.T @ (columns * heft[:, None]) + 2 * penalty
    return found
