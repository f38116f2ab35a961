"""Which rows are chosen, in which order, and why each of the others isn't."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from honed.data.curate.row import Row
from honed.data.score.quality import ranked
from honed.data.score.scoring import Scored, Scoring
from honed.data.score.vectors import centred
from honed.data.select.config import SelectConfig
from honed.data.select.spread import k_centre, round_robin
from honed.errors import DataError
from honed.records import digest


@dataclass(frozen=True)
class Choice:
    """Places of the chosen rows, the first choice first; kind and reason of each other; the scores that decided."""

    chosen: Sequence[int]
    left: Mapping[int, tuple[str, str]]
    scores: Mapping[str, Scored]


def choose(scoring: Scoring, settings: SelectConfig) -> Choice:
    """Choose by the settings' selectors. Raises ``DataError`` if fewer rows can be chosen than are asked for.

    One selector's order is its own: the highest score first (of similarity: in turns, by ``round_robin``; of diversity:
    by ``k_centre``). Of several the ranks are averaged, diversity left aside; it then spreads among the best of them.
    """
    if settings.by == ("random",):
        return drawn(scoring.rows, settings.count, settings.seed)
    ranking = tuple(name for name in settings.by if name != "diversity")
    scores: dict[str, Scored] = {name: scoring.score(name) for name in ranking}
    left = _unfit(scores, settings.ifd_below)
    fit = np.array([place for place in range(len(scoring.rows)) if place not in left], np.int64)
    if len(fit) < settings.count:
        why = f"{len(left):,} of {len(scoring.rows):,} rows can't be chosen by {' and '.join(settings.by)}"
        raise DataError(
            f"{why}, and {settings.count:,} are asked for", f"Choose fewer: --count {max(1, len(fit) // 2)}"
        )
    order = _order(scoring, scores, fit, settings)
    if "diversity" in settings.by:
        pool = order if not ranking else order[: max(settings.count, round(settings.pool * settings.count))]
        order = pool[k_centre(centred(scoring.vectors())[pool], settings.count, 0)]
    chosen = order[: settings.count].tolist()
    return Choice(chosen, {**left, **_beaten(scoring, scores, chosen, left, settings)}, scores)


def drawn(rows: Sequence[Row], count: int, seed: int) -> Choice:
    """Choose rows at random: those whose hash with the seed comes first, so that it depends on nothing else."""
    order = sorted(range(len(rows)), key=lambda place: digest([seed, rows[place].id]))
    what = f"seed {seed} drew {count:,} of {len(rows):,} rows"
    return Choice(order[:count], dict.fromkeys(order[count:], ("not drawn", what)), {})


def _order(
    scoring: Scoring,
    scores: Mapping[str, Scored],
    fit: np.ndarray[tuple[int], np.dtype[np.int64]],
    settings: SelectConfig,
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the places that may be chosen, the best first; equal ones by hash, not by where they happen to stand."""
    if not scores:  # diversity alone: the row nearest to the middle of all comes first
        vectors = scoring.vectors()
        away = np.linalg.norm(vectors - vectors.mean(axis=0), axis=1)
        return fit[np.argsort(away[fit], kind="stable")]
    if settings.by == ("similarity",):
        target, rows = scoring.likeness()
        return fit[round_robin(target, rows[fit], settings.count)]
    ranks = np.mean([ranked(one.values[fit]) for one in scores.values()], axis=0)
    ties = {place: digest([settings.seed, scoring.rows[place].id]) for place in fit.tolist()}
    value = dict(zip(fit.tolist(), ranks.tolist(), strict=True))
    return np.array(sorted(value, key=lambda place: (-value[place], ties[place])), np.int64)


def _unfit(scores: Mapping[str, Scored], ifd_below: float) -> dict[int, tuple[str, str]]:
    """Return the rows that a selector can't judge, or wouldn't choose whatever the others are like."""
    left: dict[int, tuple[str, str]] = {}
    for name, one in scores.items():
        for place, (kind, why) in one.missing.items():
            left.setdefault(place, (f"no {name}: {kind}", why))
        if name == "ifd":
            for place in np.flatnonzero(one.values >= ifd_below).tolist():
                what = f"its IFD is {one.values[place]:.3f}, and {ifd_below:g} says that the prompt is of no help"
                left.setdefault(place, ("ifd too high", what))
    return left


def _beaten(
    scoring: Scoring,
    scores: Mapping[str, Scored],
    chosen: Sequence[int],
    left: Mapping[int, tuple[str, str]],
    settings: SelectConfig,
) -> dict[int, tuple[str, str]]:
    """Say of each row that could have been chosen what its scores are."""
    taken = set(chosen)
    kind = f"not among the first by {' and '.join(settings.by)}"
    found = {}
    for place in range(len(scoring.rows)):
        if place in taken or place in left:
            continue
        said = ", ".join(f"{name} {one.values[place]:.3f}" for name, one in scores.items())
        found[place] = (kind, f"{said or 'others are farther apart'}; {settings.count:,} were chosen")
    return found
