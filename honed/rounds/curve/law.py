"""How quality grows with rows: a power law through the points, and how sure it is.

L(n) = a + b n^-c, with a and b at least 0: J. Hestness et al., "Deep Learning Scaling is Predictable, Empirically"
(2017), section 4. Three unknowns, so four sizes or more. For a given c the best a and b are a linear problem with
bounds, solved exactly; c is searched on a grid.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from honed.evaluate.stats import LEVEL, SMALLEST, Interval
from honed.records import Record

Floats = NDArray[np.float64]

LEAST_POINTS = 4
RESAMPLES = 2_000
_EXPONENTS = np.geomspace(0.02, 3.0, 90)
_DRAWS_AT_ONCE = 4_000_000


class Fit(NamedTuple):
    """The law's parameters, one set for each curve that was fitted; ``a`` and ``b`` in the units of the losses."""

    a: Floats
    b: Floats
    c: Floats

    def at(self, rows: float) -> Floats:
        """Return the loss at a number of rows, for each curve."""
        found: Floats = self.a + self.b * rows**-self.c
        return found

    def rows_to(self, loss: float) -> Floats:
        """Return how many rows reach a loss, for each curve: infinitely many where it lies at or below its floor."""
        above = loss - self.a
        reached = (above > 0) & (self.b > 0)
        with np.errstate(over="ignore"):
            rows = np.where(
                reached, (np.where(reached, above, 1.0) / np.where(reached, self.b, 1.0)) ** (-1 / self.c), 0
            )
        found: Floats = np.where(reached, rows, np.where(above > 0, 1.0, np.inf))  # a flat curve below it needs none
        return found


class Drawn(NamedTuple):
    """The law of the measured losses, those of families of rows drawn again, and the size of the residuals."""

    point: Fit
    drawn: Fit
    residual: float


class Forecast(Record):
    """What the law says of ``rows``: the loss, and by how much it is below that of the largest size."""

    rows: int
    loss: float
    interval: Interval
    gain: float
    gain_interval: Interval


class Law(Record):
    """The fitted law, its exponent's interval, and a forecast for twice the rows.

    ``identified`` is false where the points don't pin a curve down; ``why`` then says so, and the forecast is no claim.
    """

    a: float
    b: float
    c: float
    c_interval: Interval
    residual: float
    forecast: Forecast
    identified: bool
    why: str


def fit(rows: Floats, losses: Floats) -> Fit:
    """Return the least-squares law of each line of ``losses``, shape (curves, sizes), at ``rows``, shape (sizes,)."""
    scale = rows[-1]  # in units of the largest size, so that the columns are of one magnitude
    best = np.full(len(losses), np.inf)
    found = Fit(*(np.zeros(len(losses)) for _ in range(3)))
    for exponent in _EXPONENTS:
        x = (rows / scale) ** -exponent
        a, b = _bounded(x, losses)
        error = ((losses - a[:, None] - b[:, None] * x) ** 2).sum(axis=1)
        better = error < best
        best[better] = error[better]
        found.a[better], found.b[better] = a[better], b[better] * scale**exponent
        found.c[better] = exponent
    return found


def law(rows: Floats, nats: Floats, tokens: Floats, seed: int = 0) -> Law | None:
    """Fit the law to held-out losses, and say how sure it is; None with fewer than four sizes.

    The arguments are those of ``draws``.
    """
    if len(rows) < LEAST_POINTS:
        return None
    measured = nats.sum(axis=0) / tokens.sum()
    point, drawn_fits, residual = draws(rows, nats, tokens, seed)
    forecast = _forecast(point, drawn_fits, float(rows[-1]))
    exponents = _interval(drawn_fits.c)
    covered = float(measured.max() - measured.min())
    spread = forecast.gain_interval.high - forecast.gain_interval.low
    any_exponent = exponents.low <= _EXPONENTS[0] and exponents.high >= _EXPONENTS[-1]
    identified = bool(spread <= 0.5 * covered and residual <= 0.25 * covered and not any_exponent)
    why = f"the sizes don't pin the curve down (its exponent may be {exponents.low:.2f} to {exponents.high:.2f})"
    if len(tokens) < SMALLEST:
        identified, why = False, f"{len(tokens)} families of held-out rows pin no curve down"
    return Law(
        a=float(point.a[0]),
        b=float(point.b[0]),
        c=float(point.c[0]),
        c_interval=exponents,
        residual=residual,
        forecast=forecast,
        identified=identified,
        why="" if identified else why,
    )


def draws(rows: Floats, nats: Floats, tokens: Floats, seed: int = 0, noise_seed: int | None = None) -> Drawn:
    """Fit the law to held-out losses, and to those of rows drawn again; four sizes at least.

    ``nats`` has a line for each family of held-out rows and a column for each size, ``tokens`` the families' supervised
    tokens. Whole families are drawn again, the same for every size, and the size of the residuals is added as noise: it
    stands for what another training would have changed, which no drawing of held-out rows shows. Two curves on the same
    rows with one ``seed`` are drawn the same ones; give each a ``noise_seed`` of its own.
    """
    assert len(rows) >= LEAST_POINTS
    measured = nats.sum(axis=0) / tokens.sum()
    point = fit(rows, measured[None])
    errors = measured - point.a - point.b * rows**-point.c
    free = len(rows) - 3
    residual = float(np.sqrt((errors**2).sum() / free))
    random = np.random.default_rng(seed)
    drawn = _resampled(nats, tokens, random)
    noise = random if noise_seed is None else np.random.default_rng(noise_seed)
    # Few residuals say little of their own size: by Student's t, each draw has a size that they leave possible.
    drawn += noise.normal(0.0, residual, drawn.shape) * np.sqrt(free / noise.chisquare(free, (len(drawn), 1)))
    return Drawn(point, fit(rows, drawn), residual)


def _bounded(x: Floats, losses: Floats) -> tuple[Floats, Floats]:
    """Return the best a and b, both at least 0, of losses = a + b x."""
    mean, spread = x.mean(), x - x.mean()
    b = losses @ spread / max(float(spread @ spread), 1e-12)
    a = losses.mean(axis=1) - b * mean
    flat, steep = b < 0, a < 0  # losses are positive, so at most one bound is active
    a = np.where(flat, losses.mean(axis=1), np.where(steep, 0.0, a))
    b = np.where(flat, 0.0, np.where(steep, losses @ x / (x @ x), b))
    return a, b


def _resampled(nats: Floats, tokens: Floats, random: np.random.Generator) -> Floats:
    """Return losses of drawn families of held-out rows, shape (RESAMPLES, sizes)."""
    count = len(tokens)
    chunk = max(1, _DRAWS_AT_ONCE // count)
    parts = []
    for start in range(0, RESAMPLES, chunk):
        drawn = random.multinomial(count, np.full(count, 1 / count), size=min(chunk, RESAMPLES - start))
        parts.append((drawn @ nats) / (drawn @ tokens)[:, None])
    return np.concatenate(parts)


def _forecast(point: Fit, drawn: Fit, largest: float) -> Forecast:
    gain = drawn.at(largest) - drawn.at(2 * largest)
    return Forecast(
        rows=round(2 * largest),
        loss=float(point.at(2 * largest)[0]),
        interval=_interval(drawn.at(2 * largest)),
        gain=float((point.at(largest) - point.at(2 * largest))[0]),
        gain_interval=_interval(gain),
    )


def _interval(values: Floats) -> Interval:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))
