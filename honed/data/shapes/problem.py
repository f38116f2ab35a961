"""What is wrong with a field of a row: the words before it is known where the row stands."""

from __future__ import annotations

from typing import NamedTuple

from honed.data.sources.where import Path


class Problem(NamedTuple):
    """What is wrong with, or suspicious about, the field of a row at ``path``."""

    path: Path
    kind: str
    message: str
    hint: str


class BadTurnError(Exception):
    """A turn can't be read; ``problem`` says why."""

    def __init__(self, path: Path, kind: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.problem = Problem(path, kind, message, hint)
