"""What a learning curve shows, in sentences: would more rows help, since when is it flat, how many are enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from honed.evaluate import words
from honed.evaluate.stats import LEVEL, SMALLEST, Interval
from honed.rounds.curve.law import LEAST_POINTS, Forecast, Law
from honed.rounds.curve.outcome import Change, Measured, Point
from honed.train.objectives.kinds import KINDS

Verdict = Literal["more helps", "flat", "worse", "not shown"]

_SMALL = 0.1
"""A curve is flat where more than a tenth of what the largest size gained over the base is ruled out."""
_LITTLE = 0.02
"""A change that is shown is little below this share of that gain."""
_MOST = 0.9


def judge(
    measured: Measured, points: Sequence[Point], law: Law | None, unit: str, objective: str = "sft"
) -> tuple[Verdict, list[str]]:
    """Return the verdict and its sentences; the first one says it, the others what else was seen.

    ``points`` begin with the base. The loss decides where the ``objective`` lowers it, the pass rate where it doesn't
    or the rows have no loss.
    """
    by_loss = bool(measured.loss_rows) and KINDS[objective].likelihood
    if nothing := _undecided(measured, by_loss, objective):
        return "not shown", [nothing]
    change = measured.loss_change if by_loss else measured.pass_change
    last = len(points) - 1
    step = points[-1].gain if by_loss else points[-1].pass_gain
    sizes = [f"{point.size:,}" for point in points]
    what = "held-out loss" if by_loss else "pass rate"
    whole = change(0, last)
    assert step and whole
    verdict, said = _last_step(step, f"{sizes[-2]} to {sizes[-1]} {unit}", what, by_loss)
    little = _LITTLE * max(whole.better, 0.0)
    if verdict == "more helps" and step.better < little:
        share = words.percent(step.better / whole.better)
        said = f"{said.removesuffix('.')}, but little: that is {share} of the gain over the base."
    elif verdict == "not shown" or (verdict == "worse" and step.interval.low >= -little):
        since = next(at for at in range(1, last + 1) if at == last or not _shown(change(at, last)))
        rest = change(since, last)
        assert rest
        if since < last and whole.better > 0 and rest.interval.high <= _SMALL * whole.better:
            verdict = "flat"
            way = _moved(rest, by_loss, "only ")
            said = f"The {what} is flat since {sizes[since]} {unit}: from there to {sizes[-1]} it {way}."
    sentences = [said, *_forecast(law, verdict, len(points) - 1, unit, by_loss), *_enough(points, by_loss, unit)]
    if measured.loss_rows and not by_loss:
        sentences.append(f"The pass rate decides: the held-out loss isn't what {objective} lowers.")
    if by_loss and points[-1].pass_gain:
        sentences.append(_last_step(points[-1].pass_gain, f"{sizes[-2]} to {sizes[-1]} {unit}", "pass rate", False)[1])
    return verdict, sentences


def _undecided(measured: Measured, by_loss: bool, objective: str) -> str:
    """Say why nothing can be decided, if so."""
    rows, which = (len(measured.loss_rows), "") if by_loss else (len(measured.judged), " with a verifier")
    pieces = len(measured.tokens) if by_loss else len(set(measured.families))
    if pieces >= SMALLEST:
        return ""
    if rows:
        of = f" of {pieces} families" if pieces < rows else ""
        least = f"it takes {SMALLEST} {'families ' if of else ''}at least, and many more for a little"
        return f"Nothing can be shown by {rows} held-out rows{which}{of}: {least}."
    if measured.loss_rows:
        why = f"the held-out rows have no verifier, and their loss isn't what {objective} lowers"
        return f"Whether more would help can't be told: {why}."
    return "Nothing could be measured: the held-out rows have neither a loss nor a verifier."


def _last_step(step: Change, way: str, what: str, by_loss: bool) -> tuple[Verdict, str]:
    if step.p_value >= 1 - LEVEL:
        p_value = words.chance(step.p_value)
        return "not shown", f"From {way} no change of the {what} is shown: it {_moved(step, by_loss)}, {p_value}."
    if step.better > 0:
        return "more helps", f"From {way} the {what} still {_moved(step, by_loss)}: more rows would help."
    hint = "look at the rows that came last, and at epochs and learning rate"
    return "worse", f"From {way} the {what} {_moved(step, by_loss)}: {hint}."


def _moved(change: Change, by_loss: bool, only: str = "") -> str:
    """Say which way a number went, and how far: ``fell by 0.128 (0.118 to 0.138)``."""
    down = (change.better > 0) == by_loss
    better, (low, high) = change.better, change.interval
    if better < 0:
        better, low, high = -better, -high, -low
    span = Interval(low, high)
    size = f"{better:.3f} ({words.span(span, 1, 3)})" if by_loss else f"{100 * better:.0f} points ({words.span(span)})"
    return f"{'fell' if down else 'rose'} by {only}{size}"


def _forecast(law: Law | None, verdict: Verdict, sizes: int, unit: str, by_loss: bool) -> list[str]:
    if not by_loss or verdict in ("flat", "worse"):
        return []
    if law is None:
        return [f"No forecast: a power law takes {LEAST_POINTS} sizes, and there are {sizes}."]
    if not law.identified:
        return [f"No forecast: {law.why}."]
    found: Forecast = law.forecast
    loss = f"{found.loss:.3f} ({words.span(found.interval, 1, 3)})"
    gain = f"{found.gain:.3f} ({words.span(found.gain_interval, 1, 3)}) less"
    return [
        f"Twice as many, {found.rows:,} {unit}, are expected to give {loss}, {gain}, if the curve goes on as it did."
    ]


def _enough(points: Sequence[Point], by_loss: bool, unit: str) -> list[str]:
    """Say which size reaches nearly all that the largest gained over the base."""
    gains = [point.over_base if by_loss else point.pass_over_base for point in points[1:]]
    best = max((gain.better for gain in gains if gain), default=0.0)
    if best <= 0 or not any(gain and _shown(gain) for gain in gains):
        return ["No size is shown to be better than the base model."]
    shares = [(point.size, gain.better / best) for point, gain in zip(points[1:], gains, strict=True) if gain]
    few = shares[0]
    enough = next(pair for pair in shares if pair[1] >= _MOST)
    said = [f"{size:,} {unit} give {words.percent(max(share, 0.0))}" for size, share in dict.fromkeys((few, enough))]
    return [f"Of the largest gain over the base, {' and '.join(said)}."]


def _shown(change: Change | None) -> bool:
    return change is not None and change.p_value < 1 - LEVEL and change.better > 0
