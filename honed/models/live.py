"""Answers from a model in this process to requests that come and go: one thread, one batch that never closes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from honed.errors import ModelError
from honed.models.batch import batch
from honed.models.engine import Deliver, Reasoning, Sampling
from honed.models.load import LoadedModel
from honed.models.row import Row, make_row
from honed.records import Message

_log = logging.getLogger("honed.models")


class LiveLocalEngine:
    """A ``LiveEngine`` on a loaded model, which computes up to ``batch_size`` requests together.

    A request joins the running batch at the next step, whatever its sampling, and leaves when it ends or is
    cancelled. Its answer is the one that ``LocalEngine.generate`` gives, up to the rounding of the arithmetic.
    """

    def __init__(self, loaded: LoadedModel, batch_size: int = 16) -> None:
        self._loaded = loaded
        self._batch = batch(loaded, batch_size, patience=batch_size)
        self._clients: dict[Row, Deliver] = {}
        self._changed = threading.Condition()
        self._joining: list[tuple[Row, Deliver]] = []
        self._leaving: list[Row] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="honed-engine", daemon=True)
        self._thread.start()

    def submit(self, prompt: Sequence[Message], sampling: Sampling, deliver: Deliver) -> Callable[[], None]:
        """Queue a request (see ``LiveEngine.submit``); what cancels it may be called at any time, and again."""
        row = make_row(self._loaded, prompt, sampling)
        with self._changed:
            closing = self._closing
            if not closing:
                self._joining.append((row, deliver))
                self._changed.notify()
        if closing:
            row.cancel()
            deliver(row.completion)

        def cancel() -> None:
            with self._changed:
                self._leaving.append(row)
                self._changed.notify()

        return cancel

    def close(self) -> None:
        """Cancel what is running and end the engine's thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while self._admit():
            try:
                news = [] if self._batch.over else self._batch.step()
            except Exception as error:  # noqa: BLE001 - out of memory, a fault of a kernel: every request is told
                _log.exception("the model failed")
                self._fail(error)
                continue
            for row, piece in news:
                self._tell(row, piece)

    def _admit(self) -> bool:
        """Wait for something to compute, take in who joined, let out who left; return False when closing."""
        with self._changed:
            while not (self._joining or self._leaving or self._closing or self._clients):
                self._changed.wait()
            joining, leaving, closing = self._joining, self._leaving, self._closing
            self._joining, self._leaving = [], []
        self._clients.update(joining)
        self._batch.add(row for row, _ in joining)
        for row in list(self._clients) if closing else leaving:
            if row in self._clients:
                self._batch.drop(row)
                self._tell(row, row.cancel())
        return not closing

    def _tell(self, row: Row, piece: str) -> None:
        if reasoning := row.reasoning():
            self._clients[row](Reasoning(reasoning))
        if piece:
            self._clients[row](piece)
        if row.finish:
            self._clients.pop(row)(row.completion)

    def _fail(self, error: Exception) -> None:
        """End every request with what went wrong; the batch begins anew."""
        clients, self._clients = self._clients, {}
        for row in self._batch.rows:
            self._batch.drop(row)
        for deliver in clients.values():
            deliver(ModelError(f"the model failed: {error}", "The server's log has more; ask again."))
