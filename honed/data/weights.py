"""Rows that say the same and weigh their answers otherwise: one is kept, each of its answers at the largest weight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from honed.data.shapes.turns import Turn
from honed.records import Message

Weights = tuple[float, ...]
"""The weights of a row's turns, 0 for turns that no loss can be on."""


def weights_of(turns: Iterable[Message | Turn]) -> Weights:
    """Return the weights of a conversation's turns, as a dataset keeps them: in 32 bits."""
    told = np.array([turn.weight if turn.role == "assistant" else 0.0 for turn in turns], np.float32)
    return tuple(told.tolist())


def usual(turns: Sequence[Message | Turn]) -> bool:
    """Tell whether all answers weigh 1, as they do in most rows."""
    return all(turn.weight == 1 for turn in turns if turn.role == "assistant")


class Largest:
    """Remembers what rows weigh that are kept, where it isn't the usual, and what they have to weigh in the end."""

    def __init__(self) -> None:
        self.raised: dict[str, Weights] = {}
        """By id, what the answers of rows weigh that an equal one weighs more."""
        self._kept: dict[int, Weights] = {}
        self._same: dict[Weights, Weights] = {}  # most rows have one of a few

    def keep(self, id_: int, weights: Weights) -> None:
        """Remember what a row weighs that is kept, if it isn't the usual."""
        self._kept[id_] = self._same.setdefault(weights, weights)

    def again(self, id_: int, turns: Sequence[Message]) -> bool:
        """Take in the weights of a row that is left out for one like it; tell whether they change those of that one."""
        known = self._kept.get(id_) or tuple([float(turn.role == "assistant") for turn in turns])
        larger = tuple(map(max, known, weights_of(turns)))
        if larger == known:
            return False
        self.keep(id_, larger)
        self.raised[f"{id_:016x}"] = larger
        return True
