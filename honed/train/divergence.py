"""Whether a run diverges: its loss climbs and stays up instead of falling, mostly as the learning rate is too high.

A clipped gradient keeps such a run finite, so that nothing else would say it. Both rules compare means over several
steps, and ask for far more than rows of unequal difficulty make (a step of few rows is easily 30 % off the mean).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from statistics import fmean

from honed.jobs.events import Event, Metric, Step

SOON, FAR = 5, 4.0
"""Until there are enough steps for the other rule: a mean of so many is compared to the very first step's loss, which
was taken before any update, or to the base's held-out loss where that is of the same kind and higher: the rows of the
first step may be easy ones."""
WINDOW = 20
"""Steps over which a loss is compared to the lowest mean over as many steps, and to the first such mean."""
RISE, ABOVE_START, ERRORS = 1.5, 1.2, 5.0
"""How many times the lowest mean, how many times the first, and by how many standard errors above the lowest: where
rows are of two kinds, the lowest of many means is low by chance."""
ABOVE_FIRST = 3.0
"""A run that climbed before its first window was full has no low mean to be compared to: what it began at tells then.
That may be a single step's loss, so that it takes more."""


@dataclass(frozen=True)
class Diverged:
    """Where a run was found to diverge, and by what."""

    step: int
    why: str


class Watch:
    """Follows a run's losses, one call a step, in memory that doesn't grow.

    ``likelihood`` is that of ``kinds.Kind``: held-out losses are of the kind that the steps' are.
    """

    def __init__(self, *, likelihood: bool = False) -> None:
        self.found: Diverged | None = None
        self._likelihood = likelihood
        self._base = 0.0
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._first: float | None = None
        self._start: float | None = None
        self._lowest, self._variance = float("inf"), 0.0

    def begins(self, heldout_loss: float | None) -> None:
        """Take the held-out loss before the first step, None without rows."""
        self._base = heldout_loss or 0.0

    def seen(self, step: int, loss: float) -> Diverged | None:
        """Take the loss of a step; return what is found at this very step, which happens once in a run at most."""
        self._recent.append(loss)
        if self._first is None:
            self._first = loss
        if self.found:
            return None
        why = self._climbed() or self._left_its_best()
        self.found = Diverged(step, why) if why else None
        return self.found

    def replay(self, events: Iterable[Event], done: int) -> None:
        """Take the losses up to step ``done`` from a job's events, as if they had just been seen.

        Of a step that several attempts computed, the last counts.
        """
        steps: dict[int, float] = {}
        for event in events:
            if isinstance(event, Step) and event.stage == "train":
                steps[event.step] = event.values["loss"]
            elif isinstance(event, Metric) and event.name == "heldout_loss" and event.step == 0:
                self.begins(event.value)
        for step in sorted(step for step in steps if step <= done):
            self.seen(step, steps[step])

    def no_lower(self) -> str:
        """Say so if the last losses are no lower than the first, which was taken before any update.

        A loss that has a bound (kto) can't climb as the rules ask for; one that begins where nothing is known yet, as
        those beside a reference do, tells by staying there.
        """
        if self.found or self._first is None or len(self._recent) < WINDOW:
            return ""
        now = fmean(self._recent)
        if now < self._first:
            return ""
        ended = f"the loss of the last {WINDOW} steps, {now:.3g} on average"
        return f"{ended}, is no lower than that of step 1, {self._first:.3g}"

    def _began(self) -> tuple[float, str]:
        """What the losses began at, and whose that is."""
        first = self._first or 0.0
        if self._likelihood and self._base > first:
            return self._base, "the held-out loss before it"
        return first, "that of step 1"

    def _climbed(self) -> str:
        began, whose = self._began()
        if not began or not SOON <= len(self._recent) < WINDOW:
            return ""
        now = fmean(list(self._recent)[-SOON:])
        if now <= FAR * began:
            return ""
        return f"the loss rose to {now:.3g} (mean of {SOON} steps), {now / began:.1f} times {whose}"

    def _left_its_best(self) -> str:
        if len(self._recent) < WINDOW:
            return ""
        now = fmean(self._recent)
        if self._start is None:
            self._start = now
        variance = sum((loss - now) ** 2 for loss in self._recent) / (WINDOW - 1)
        if now < self._lowest:
            self._lowest, self._variance = now, variance
        began, whose = self._began()
        if began and now > ABOVE_FIRST * began:
            return f"the loss rose to {now:.3g} (mean of {WINDOW} steps), {now / began:.1f} times {whose}"
        chance = ERRORS * sqrt((variance + self._variance) / WINDOW)
        if now <= max(RISE * self._lowest, ABOVE_START * self._start, self._lowest + chance):
            return ""
        return f"the loss rose to {now:.3g} (mean of {WINDOW} steps), {now / self._lowest:.1f} times its lowest"
