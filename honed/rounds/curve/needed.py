"""How many rows reach a held-out loss: by the fitted law where it is pinned down, else by the sizes themselves."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Literal

import numpy as np

from honed.evaluate import words
from honed.evaluate.stats import LEVEL
from honed.records import Record
from honed.rounds.curve import law
from honed.rounds.curve.law import Drawn, Floats, Law

SHARES = (0.5, 0.8, 0.9, 0.95)
"""Parts of the largest size's gain over the base whose rows are given without being asked for."""
FAR = 10
"""How many times the largest size the law is believed."""


class RowsFor(Record):
    """How many training rows reach ``loss`` (nats per supervised token), and how sure that is.

    ``share`` is the part of the largest size's gain over the base, None for a loss that was asked for. ``rows`` is None
    where it isn't reached within ``FAR`` times the largest size; ``low`` and ``high`` are the 95 % interval, ``high``
    None where it has no end within that. ``by`` is the ``law``, or the ``sizes``: the first size that is there, between
    it and the one before (``low`` and ``high``), where the points don't pin a law down.
    """

    loss: float
    share: float | None
    rows: int | None
    low: int | None
    high: int | None
    by: Literal["law", "sizes"]


class Curve:
    """Losses of each size on the same held-out rows: what ``rows_for`` and ``efficiency`` are asked of.

    ``rows`` are the sizes' training rows; ``nats`` and ``tokens`` are those of ``law.draws``.
    """

    def __init__(self, rows: Floats, nats: Floats, tokens: Floats, base: float, noise_seed: int | None = None) -> None:
        self.rows, self.base = rows, base
        self.losses: Floats = nats.sum(axis=0) / tokens.sum()
        enough = len(rows) >= law.LEAST_POINTS
        self.drawn: Drawn | None = law.draws(rows, nats, tokens, noise_seed=noise_seed) if enough else None

    def rows_for(self, loss: float, fitted: Law | None, share: float | None = None) -> RowsFor:
        """Return the rows that reach a loss; ``fitted`` is the law, None or not identified where it says nothing."""
        if self.drawn is None or fitted is None or not fitted.identified:
            return self._by_sizes(loss, share)
        most = FAR * float(self.rows[-1])
        point = float(self.drawn.point.rows_to(loss)[0])
        low, high = ends(self.drawn.drawn.rows_to(loss))
        return RowsFor(
            loss=loss,
            share=share,
            rows=_whole(point, most),
            low=_whole(low, most),
            high=_whole(high, most),
            by="law",
        )

    def _by_sizes(self, loss: float, share: float | None) -> RowsFor:
        there = [at for at, one in enumerate(self.losses) if one <= loss + 1e-12]
        if not there:
            return RowsFor(loss=loss, share=share, rows=None, low=int(self.rows[-1]), high=None, by="sizes")
        at = there[0]
        before = int(self.rows[at - 1]) if at else 0
        return RowsFor(loss=loss, share=share, rows=int(self.rows[at]), low=before, high=int(self.rows[at]), by="sizes")


def rows_for(curve: Curve, fitted: Law | None, asked: Sequence[float] = ()) -> tuple[RowsFor, ...]:
    """Return the rows for each loss that is ``asked`` for, and for parts of the gain over the base, if there is one."""
    found = [curve.rows_for(loss, fitted) for loss in asked]
    gain = curve.base - float(curve.losses.min())
    if gain > 0:
        found += [curve.rows_for(curve.base - share * gain, fitted, share) for share in SHARES]
    return tuple(found)


def sentence(one: RowsFor, unit: str, largest: int) -> str:
    """Return the rows that a loss takes, as a sentence."""
    part = f", {words.percent(one.share)} of the largest gain," if one.share is not None else ""
    loss = f"A loss of {one.loss:.3f}{part}"
    if one.rows is None and one.by == "sizes":
        return f"{loss} isn't reached by any size, and the sizes pin no law down that would say more."
    if one.rows is None:
        least = f"; {one.low:,} at least" if one.low else ""
        return f"{loss} isn't reached within {FAR} times {largest:,} {unit}, if the curve goes on as it did{least}."
    if one.by == "sizes":
        return f"{loss} is reached between {one.low:,} and {one.rows:,} {unit} (by the sizes: they pin no law down)."
    end = f"to {one.high:,}" if one.high else f"or more than {FAR * largest:,}"
    beyond = ", beyond what was trained" if one.rows > largest else ""
    return f"{loss} takes {one.rows:,} {unit} ({one.low:,} {end}){beyond}."


def ends(values: Floats) -> tuple[float, float]:
    """Return the 95 % interval of values of which some may be infinite; nan ones are left out."""
    known = np.sort(values[~np.isnan(values)])
    if not len(known):
        return 0.0, inf
    tail = (1 - LEVEL) / 2
    low, high = (known[min(len(known) - 1, int(part * len(known)))] for part in (tail, 1 - tail))
    return float(low), float(high)


def _whole(rows: float, most: float) -> int | None:
    return max(1, round(rows)) if rows <= most else None
