"""Held-out losses that were measured before, in a file of the workspace's cache: a row isn't measured twice."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from honed.evaluate.outcome import RowLoss
from honed.models.answer_cache import opened, trim
from honed.models.chat import Encoded
from honed.records import digest
from honed.store.workspace import Workspace

MOST = 1_000_000
"""Losses that are kept; those that were asked for the longest ago go first."""

_TABLE = """
CREATE TABLE IF NOT EXISTS losses (key TEXT PRIMARY KEY, nats REAL NOT NULL, tokens INTEGER NOT NULL,
    bytes INTEGER NOT NULL, used REAL NOT NULL);
CREATE INDEX IF NOT EXISTS losses_by_use ON losses (used);
"""


class LossCache:
    """The losses of one way to measure (``who``: a model, its chat template, a precision, a device).

    The key is what the model sees: a row's ids, and which of them count.
    """

    def __init__(self, workspace: Workspace, *who: str, most: int = MOST) -> None:
        self._who, self._most = who, most
        self._base = opened(workspace.cache / "losses.sqlite", _TABLE)

    def get(self, rows: Mapping[str, Encoded]) -> dict[str, RowLoss]:
        """Return the losses that are known, by the rows' ids."""
        keys = {name: self._key(row) for name, row in rows.items()}
        found = {}
        for name, key in keys.items():
            line = self._base.execute("SELECT nats, tokens, bytes FROM losses WHERE key = ?", (key,)).fetchone()
            if line:
                found[name] = RowLoss(row=name, nats=line[0], tokens=line[1], bytes=line[2])
        now = time.time()
        with self._base:
            self._base.executemany("UPDATE losses SET used = ? WHERE key = ?", [(now, keys[name]) for name in found])
        return found

    def keep(self, rows: Mapping[str, Encoded], losses: Iterable[RowLoss]) -> None:
        """Keep losses of ``rows``."""
        now = time.time()
        lines = [(self._key(rows[one.row]), one.nats, one.tokens, one.bytes, now) for one in losses]
        with self._base:
            self._base.executemany("INSERT OR REPLACE INTO losses VALUES (?, ?, ?, ?, ?)", lines)

    def close(self) -> None:
        """Let go of what is too much, and close the file."""
        trim(self._base, "losses", self._most)
        self._base.close()

    def _key(self, row: Encoded) -> str:
        parts = [(one.ids, [place for place, weight in enumerate(one.weights) if weight > 0]) for one in row.rows]
        return digest([list(self._who), *(list(part) for both in parts for part in both)])
