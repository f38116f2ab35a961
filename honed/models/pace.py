"""How fast and for how much an endpoint is asked: rate limits, what it asks to wait, and a limit in money."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from honed.errors import BudgetError
from honed.models.endpoint import EndpointConfig

_MINUTE = 60.0
_POLL_SECONDS = 0.1


class HaltedWaitError(Exception):
    """Nobody wants the answer any more that was waited for."""


def sleep(seconds: float, halted: Callable[[], bool]) -> None:
    """Wait. Raises ``HaltedWaitError`` as soon as ``halted`` is true."""
    until = time.monotonic() + seconds
    while True:
        if halted():
            raise HaltedWaitError
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _POLL_SECONDS))


class Pace:
    """Lets requests go evenly, as many and as large a minute as are allowed, and none while the server wants rest."""

    def __init__(self, config: EndpointConfig) -> None:
        self._request = _MINUTE / config.requests_per_minute if config.requests_per_minute else 0.0
        self._token = _MINUTE / config.tokens_per_minute if config.tokens_per_minute else 0.0
        self._lock = threading.Lock()
        self._next_request = self._next_token = self._rest = 0.0

    def wait(self, tokens: float, halted: Callable[[], bool]) -> None:
        """Wait for the turn of a request of about ``tokens``, prompt and answer together."""
        with self._lock:
            turn = max(time.monotonic(), self._next_request, self._next_token)
            self._next_request = turn + self._request
            self._next_token = turn + tokens * self._token
        sleep(turn - time.monotonic(), halted)
        while (rest := self._rest - time.monotonic()) > 0:
            sleep(rest, halted)

    def correct(self, tokens: float) -> None:
        """Take back what a request was counted for too much (``tokens`` is negative then), or add what was missing."""
        with self._lock:
            self._next_token += tokens * self._token

    def rest(self, seconds: float) -> None:
        """Let no request go for so long."""
        with self._lock:
            self._rest = max(self._rest, time.monotonic() + seconds)


class Budget:
    """A limit in money: the most that each request may cost, its prompt by a guess, is set aside before it is sent.

    ``paid`` is what earlier attempts of the same work have paid; ``lost`` what they may have paid for answers that
    never arrived, which counts towards the limit too.
    """

    def __init__(self, limit: float | None, paid: float = 0.0, lost: float = 0.0) -> None:
        self._limit, self.paid, self.lost = limit, paid, lost
        self._aside = 0.0
        self._changed = threading.Condition()

    def take(self, most: float, halted: Callable[[], bool]) -> None:
        """Set ``most`` aside; wait if others' requests must end first. Raises ``BudgetError`` if it isn't there."""
        with self._changed:
            while self._limit is not None and self.paid + self.lost + self._aside + most > self._limit:
                if not self._aside:
                    raise self._over(most)
                self._changed.wait(_POLL_SECONDS)
                if halted():
                    raise HaltedWaitError
            self._aside += most

    def settle(self, most: float, paid: float = 0.0, lost: float = 0.0) -> None:
        """Give back what was set aside and count what was paid of it."""
        with self._changed:
            self._aside = max(0.0, self._aside - most)
            if self._aside < 1e-12:
                self._aside = 0.0  # a sum of floats that should be nothing
            self.paid += paid
            self.lost += lost
            self._changed.notify_all()

    def _over(self, most: float) -> BudgetError:
        lost = f", {self.lost:.4f} perhaps for answers that never arrived" if self.lost else ""
        spent = f"{self.paid:.4f} is spent{lost}, and the next request may cost {most:.4f}"
        return BudgetError(
            f"max_cost {self._limit:g} is reached: {spent}",
            "Raise max_cost and start again: what was paid for is kept and not asked for a second time.",
        )
