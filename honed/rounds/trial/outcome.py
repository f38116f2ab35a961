"""What a trial leaves: both sides beside the base model, which one is better, and how sure that is. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from honed.evaluate import words
from honed.evaluate.stats import LEVEL
from honed.records import Record
from honed.rounds.curve.outcome import Change, Point

Verdict = Literal["won", "lost", "not shown"]


class TrialOutcome(Record):
    """``result.json`` of a trial. ``points`` are the base, ``against`` and ``data``, in this order.

    ``loss`` and ``passed`` say how much better the model trained on ``data`` is than that trained on ``against``; None
    where the held-out rows have no loss, or no verifier. ``verdict`` is about the loss, or the pass rate without one.
    """

    data: str
    against: str
    base: str
    heldout: int
    points: tuple[Point, Point, Point]
    tokens: tuple[int, int]
    loss: Change | None
    passed: Change | None
    verdict: Verdict
    words: tuple[str, ...]
    seconds: float = 0.0
    peak_rss_bytes: int = 0


def judge(
    names: tuple[str, str], points: Sequence[Point], tokens: tuple[int, int], changes: Sequence[Change | None]
) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict and its sentences; ``names`` and ``tokens`` are of ``against`` and ``data``, in this order.

    ``changes`` are those of the loss and of the pass rate. The loss decides, the pass rate where there is none.
    """
    loss, passed = changes
    decides = loss or passed
    if decides is None:
        return "not shown", ("Nothing could be measured: the held-out rows have neither a loss nor a verifier.",)
    verdict: Verdict = "not shown"
    if decides.p_value < 1 - LEVEL:
        verdict = "won" if decides.better > 0 else "lost"
    said = [_said(verdict, names, decides, by_loss=loss is not None)]
    if loss and passed:
        said.append(f"Pass rate: {_size(passed, by_loss=False)} {_luck(passed)}.")
    said += _than_base(points)
    ratio = tokens[1] / max(1, tokens[0])
    if not 0.9 <= ratio <= 1.1:
        more = f"{ratio:.1f} times the" if ratio > 1 else f"{ratio:.0%} of the"
        said.append(
            f"The rows of {names[1]} had {more} tokens of {names[0]}: length alone may be what made the difference."
        )
    said.append("Another draw of random rows, or another seed of the training, may differ: no interval covers that.")
    return verdict, tuple(said)


def _said(verdict: Verdict, names: tuple[str, str], change: Change, *, by_loss: bool) -> str:
    other, own = names
    size = f"{_size(change, by_loss=by_loss)} {_luck(change)}"
    if verdict == "not shown":
        return f"No difference is shown between {own} and {other}: {size}."
    return f"{own} {'beats' if verdict == 'won' else 'is worse than'} {other}: {size}."


def _size(change: Change, *, by_loss: bool) -> str:
    if by_loss:
        way = "lower" if change.better >= 0 else "higher"
        ends = (
            change.interval
            if change.better >= 0
            else change.interval._replace(low=-change.interval.high, high=-change.interval.low)
        )
        return f"held-out loss {abs(change.better):.4f} nats a token {way} ({words.span(ends, 1, 4)})"
    return f"{words.points(change.better)} ({words.span(change.interval)})"


def _luck(change: Change) -> str:
    return words.chance(change.p_value)


def _than_base(points: Sequence[Point]) -> list[str]:
    """Say where training on a side isn't shown to have helped at all."""
    said = []
    for point in points[1:]:
        gain = point.over_base or point.pass_over_base
        if gain and not (gain.p_value < 1 - LEVEL and gain.better > 0):
            name = point.trained.model if point.trained else ""
            said.append(f"{name} isn't shown to be better than the base model: too few rows, or another learning rate.")
    return said
