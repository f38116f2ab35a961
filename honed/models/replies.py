"""Paid replies on the disk: one SQLite file of a workspace, in which each request's reply is found by its hash."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from honed.errors import StoreError
from honed.models.wire import Reply
from honed.store.workspace import Workspace

_WAIT_SECONDS = 30.0
_TABLES = """
CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, model TEXT NOT NULL, reply TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS paid (work TEXT NOT NULL, key TEXT NOT NULL, cost REAL NOT NULL, at REAL NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, arrived INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS paid_by_work ON paid (work);
"""


def path(workspace: Workspace) -> Path:
    """Return where a workspace keeps paid replies: not in its cache, since nothing there costs money."""
    return workspace.path / "replies.sqlite"


class Replies:
    """Replies by key, and what each piece of work has paid. Several threads and processes may share the file.

    A reply is on the disk when ``keep`` returns: neither a kill nor a power cut makes it be paid twice. Raises
    ``StoreError`` if the file can't be read or written.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, threading.Lock()
        with self._mended():
            self._base = sqlite3.connect(file, timeout=_WAIT_SECONDS, check_same_thread=False)
            self._base.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + _TABLES)

    def get(self, key: str) -> Reply | None:
        """Return the reply to the request ``key``, marked as cached, or None."""
        with self._mended(), self._lock:
            found = self._base.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        return Reply.model_validate_json(found[0]).model_copy(update={"cached": True}) if found else None

    def keep(self, work: str, key: str, model: str, reply: Reply) -> None:
        """Store a reply, and what ``work`` paid for it."""
        now = time.time()
        with self._mended(), self._lock, self._base:
            self._base.execute(
                "INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?)", (key, model, reply.model_dump_json(), now)
            )
            self._base.execute(
                "INSERT INTO paid VALUES (?, ?, ?, ?, ?, ?, 1)",
                (work, key, reply.cost, now, reply.prompt_tokens, reply.completion_tokens),
            )

    def lost(self, work: str, key: str, cost: float) -> None:
        """Store that ``work`` may have paid up to ``cost`` for an answer that never arrived whole."""
        with self._mended(), self._lock, self._base:
            self._base.execute("INSERT INTO paid VALUES (?, ?, ?, ?, 0, 0, 0)", (work, key, cost, time.time()))

    def spent(self, work: str) -> tuple[float, float]:
        """Return what ``work`` has paid in all its attempts, and what it may have paid for lost answers."""
        with self._mended(), self._lock:
            rows = self._base.execute("SELECT arrived, SUM(cost) FROM paid WHERE work = ? GROUP BY arrived", (work,))
            sums: dict[int, float] = dict(rows.fetchall())
        return sums.get(1, 0.0), sums.get(0, 0.0)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._base.close()

    @contextmanager
    def _mended(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(
                f"{self._file}: paid replies can't be read or written: {error}",
                "Free space, or mend the folder's permissions; if the file is damaged, move it away.",
            ) from error
