"""The running batch that suits a model and its device: packed where that goes, else padded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from honed.models.load import LoadedModel
from honed.models.packed import PackedBatch
from honed.models.packed_forward import packed_forward
from honed.models.padded import PaddedBatch
from honed.models.row import Row


class Batch(Protocol):
    """Rows computed together, joining at any step and leaving when they end."""

    @property
    def over(self) -> bool:
        """Whether no row waits or runs."""
        ...

    @property
    def rows(self) -> list[Row]:
        """Every row that runs or waits."""
        ...

    def add(self, rows: Iterable[Row]) -> None:
        """Let ``rows`` wait for places, in their order."""
        ...

    def drop(self, row: Row) -> None:
        """Take a row out, wherever it is."""
        ...

    def step(self) -> list[tuple[Row, str]]:
        """Compute the next tokens; return the rows that got some, with their new text."""
        ...


def batch(loaded: LoadedModel, size: int, *, patience: int | None = None, shared: int = 0, guess: bool = True) -> Batch:
    """Return an empty batch of up to ``size`` rows.

    ``patience`` and ``shared`` are for padded rows (see ``PaddedBatch``); ``guess`` for packed ones.
    """
    if forward := packed_forward(loaded, size):
        return PackedBatch(loaded, forward, size, guess=guess)
    return PaddedBatch(loaded, size, patience=patience, shared=shared)
