"""Whether a run diverges: its loss climbs and stays up instead of falling, mostly as the learning rate is too high.

A clipped gradient keeps such a run finite, so that nothing else would say it. Both rules compare means over several
steps, and ask for far more than rows of unequal difficulty make (a step of few rows is easily 30 % off the mean).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from honed.jobs.events import Event, Step

SOON, FAR = 5, 4.0
"""Until there are enough steps for the other rule: a mean of so many is compared to the very first step's loss, which
was taken before any update."""
WINDOW = 20
"""Steps over which a loss is compared to the lowest mean over as many steps, and to the first such mean."""
RISE, ABOVE_START = 1.5, 1.2
ABOVE_FIRST = 3.0
"""A run that climbed before its first window was full has no low mean to be compared to: its first loss tells then. A
single step's rows may be easy ones, so that it takes more."""


@dataclass(frozen=True)
class Diverged:
    """Where a run was found to diverge, and by what."""

    step: int
    why: str


class Watch:
    """Follows a run's losses, one call a step, in memory that doesn't grow."""

    def __init__(self) -> None:
        self.found: Diverged | None = None
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._first: float | None = None
        self._start: float | None = None
        self._lowest = float("inf")

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
        """Take the losses of the steps up to ``done`` from a job's events, as if they had just been seen.

        Of a step that several attempts computed, the last counts.
        """
        steps = {e.step: e.values["loss"] for e in events if isinstance(e, Step) and e.stage == "train"}
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

    def _climbed(self) -> str:
        if not self._first or not SOON <= len(self._recent) < WINDOW:
            return ""
        now = fmean(list(self._recent)[-SOON:])
        if now <= FAR * self._first:
            return ""
        return f"the loss rose to {now:.3g} (mean of {SOON} steps), {now / self._first:.1f} times that of step 1"

    def _left_its_best(self) -> str:
        if len(self._recent) < WINDOW:
            return ""
        now = fmean(self._recent)
        if self._start is None:
            self._start = now
        self._lowest = min(self._lowest, now)
        if self._first and now > ABOVE_FIRST * self._first:
            return f"the loss rose to {now:.3g} (mean of {WINDOW} steps), {now / self._first:.1f} times that of step 1"
        if now <= RISE * self._lowest or now <= ABOVE_START * self._start:
            return ""
        return f"the loss rose to {now:.3g} (mean of {WINDOW} steps), {now / self._lowest:.1f} times its lowest"
