"""Two learning curves on the same held-out rows: how many times the rows of the second the first one needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from honed.errors import DataError, JobError
from honed.evaluate import compare, words
from honed.evaluate.compare import Evaluation
from honed.evaluate.stats import LEVEL
from honed.jobs import job as jobs
from honed.jobs.job import Job
from honed.records import Record
from honed.rounds.curve import needed
from honed.rounds.curve.law import Law
from honed.rounds.curve.needed import Curve, RowsFor
from honed.rounds.curve.outcome import CurveOutcome, Measured
from honed.train.objectives.kinds import KINDS

_BETWEEN = (0.25, 0.5, 0.75)
_MOST_UNKNOWN = 0.05  # share of draws in which neither curve reaches a loss, beyond which nothing is said of it


class Target(Record):
    """A held-out loss, the rows that either curve takes to reach it, and how many times those of the second the first.

    ``ratio`` and its interval are None where neither curve or no law reaches the loss; ``high`` alone is None where the
    interval has no end. ``shown`` says whether the interval lies on one side of 1.
    """

    loss: float
    first: RowsFor
    second: RowsFor
    ratio: float | None
    low: float | None
    high: float | None
    shown: bool


class Efficiency(Record):
    """Two learning curves beside each other. ``targets`` are losses that both reach, the highest first."""

    first_job: str
    second_job: str
    first: str
    second: str
    unit: str
    heldout: int
    targets: tuple[Target, ...]
    words: tuple[str, ...]


def of_jobs(first: Job, second: Job, asked: Sequence[float] = ()) -> Efficiency:
    """Compare two finished learning curves, at the losses ``asked`` for and at three that both measured.

    Raises ``JobError`` if a job is no finished curve, ``DataError`` if they weren't measured on the same held-out rows
    in the same tokens.
    """
    outcomes = [_outcome(job) for job in (first, second)]
    for one in outcomes:
        if not KINDS[one.objective].likelihood:
            what = f"a curve of {one.objective} can't be compared by its held-out loss, which isn't what that lowers"
            raise DataError(what, "Compare two of its models: honed compare.")
    measured = [
        [compare.read(jobs.find(job.workspace, point.job)) for point in one.points]
        for job, one in zip((first, second), outcomes, strict=True)
    ]
    return compared((first.id, second.id), outcomes, measured, asked)


def compared(
    names: Sequence[str],
    outcomes: Sequence[CurveOutcome],
    evaluations: Sequence[Sequence[Evaluation]],
    asked: Sequence[float] = (),
) -> Efficiency:
    """Compare two curves by the evaluations of their points; the rest as in ``of_jobs``."""
    both = [Measured(one) for one in evaluations]
    _same_rows(names, both)
    curves = [
        Curve(
            np.array([point.size for point in found.points if point.trained], dtype=np.float64),
            one.nats[:, 1:],
            one.tokens,
            float(one.nats[:, 0].sum() / one.tokens.sum()),
            noise_seed=1 + at,
        )
        for at, (found, one) in enumerate(zip(outcomes, both, strict=True))
    ]
    laws = [one.law for one in outcomes]
    said = _labels(names, outcomes)
    losses = [*asked, *_shared(curves)]
    targets = tuple(_target(loss, curves, laws) for loss in losses)
    return Efficiency(
        first_job=names[0],
        second_job=names[1],
        first=said[0],
        second=said[1],
        unit=outcomes[0].unit,
        heldout=len(both[0].loss_rows),
        targets=targets,
        words=tuple(_words(targets, curves, laws, said, outcomes[0].unit)),
    )


def _outcome(job: Job) -> CurveOutcome:
    stage = job.status().stage
    if stage != "curve":
        raise JobError(f"job {job.id} is no learning curve but {stage}", "Give two jobs that honed train --curve made.")
    return CurveOutcome.model_validate(job.result())


def _same_rows(names: Sequence[str], both: Sequence[Measured]) -> None:
    hint = "Draw both curves on the same data, with the same seed and as many held-out rows."
    first, second = both
    if not first.loss_rows or first.loss_rows != second.loss_rows:
        differ = len(set(first.loss_rows) ^ set(second.loss_rows))
        what = f"{differ} held-out rows are in one of the two only" if differ else "no row has a loss"
        raise DataError(f"{names[0]} and {names[1]} can't be compared: {what}", hint)
    templates = {one.outcome.template_hash for measured in both for one in measured.evaluations}
    if len(templates) > 1 or not np.array_equal(first.tokens, second.tokens):
        raise DataError(
            f"{names[0]} and {names[1]} can't be compared: their models use other tokens or chat templates",
            "A loss per token means something else in other tokens.",
        )


def _labels(names: Sequence[str], outcomes: Sequence[CurveOutcome]) -> list[str]:
    """What tells the two apart: the base models, or else the data, or else the recipe, or else the jobs."""
    first, second = outcomes
    for one, other in (
        (first.base, second.base),
        (first.source, second.source),
        *(
            (f"{key} {first.recipe.get(key)}", f"{key} {second.recipe.get(key)}")
            for key in ("weights", "learning_rate")
        ),
    ):
        if one != other:
            return [one, other]
    return list(names)


def _shared(curves: Sequence[Curve]) -> list[float]:
    """Three losses in the range that both curves measured, the highest first; none if they don't overlap."""
    top = min(float(curve.losses.max()) for curve in curves)
    bottom = max(float(curve.losses.min()) for curve in curves)
    return [top - share * (top - bottom) for share in _BETWEEN] if bottom < top else []


def _target(loss: float, curves: Sequence[Curve], laws: Sequence[Law | None]) -> Target:
    first, second = (curve.rows_for(loss, fitted) for curve, fitted in zip(curves, laws, strict=True))
    ratio = low = high = None
    if first.by == second.by == "law" and first.rows and second.rows:
        drawn = [curve.drawn for curve in curves]
        assert drawn[0] and drawn[1]
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = drawn[0].drawn.rows_to(loss) / drawn[1].drawn.rows_to(loss)
        if np.isnan(ratios).mean() <= _MOST_UNKNOWN:
            points = [float(one.point.rows_to(loss)[0]) for one in drawn if one]
            ratio = points[0] / points[1]
            low, end = needed.ends(ratios)
            high = end if np.isfinite(end) else None
    shown = low is not None and (low > 1 or (high is not None and high < 1))
    return Target(loss=loss, first=first, second=second, ratio=ratio, low=low, high=high, shown=shown)


def _words(
    targets: Sequence[Target], curves: Sequence[Curve], laws: Sequence[Law | None], names: Sequence[str], unit: str
) -> list[str]:
    if not targets:
        best = int(float(curves[0].losses.min()) > float(curves[1].losses.min()))
        worst = 1 - best
        return [
            f"The curves don't overlap: {names[best]} is below a loss of {curves[worst].losses.min():.3f}, the best of "
            f"{names[worst]}, from its first size on. Draw smaller sizes of the one, or larger ones of the other."
        ]
    said = [_said(one, names, unit) for one in targets]
    loose = [name for name, fitted in zip(names, laws, strict=True) if fitted is None or not fitted.identified]
    if loose:
        said.append(
            f"No ratio is given where sizes pin no law down: {', '.join(loose)}. Draw more sizes, further apart."
        )
    return said


def _said(one: Target, names: Sequence[str], unit: str) -> str:
    loss = f"For a loss of {one.loss:.3f}"
    if one.ratio is None or one.low is None:
        first, second = (_rows(found, unit) for found in (one.first, one.second))
        return f"{loss}, {names[0]} {first}, {names[1]} {second}."
    end = f"{one.high:.2g}" if one.high is not None else "any number"
    luck = "" if one.shown else "; a difference isn't shown"
    return (
        f"{loss}, {names[0]} needs {one.ratio:.2g} times the {unit} of {names[1]} ({100 * LEVEL:.0f}{words.GAP}% "
        f"interval {one.low:.2g} to {end}{luck}): {one.first.rows:,} and {one.second.rows:,}."
    )


def _rows(one: RowsFor, unit: str) -> str:
    if one.rows is None:
        return "doesn't reach it"
    return f"takes {one.rows:,} {unit}" if one.by == "law" else f"takes {one.low:,} to {one.rows:,} {unit}"
