"""Keys and values of a running batch: rows that come and go, aligned at the right, in buffers that are written once.

A cache that is concatenated at every token copies itself at every token; on a CPU that costs as much as the model.
Here a token's keys and values are written into place, and the whole is copied only when the buffers are full or
rows are dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from honed.errors import ModelError

_SPARE = 128
"""Columns that a new buffer has beyond what is in use: one copy of the cache every 128 tokens at most."""

_KNOWN = frozenset({"full_attention", "sliding_attention", "chunked_attention"})


class ColumnLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values, batch x heads x columns x size; the used columns end at ``used``.

    Sliding-window layers keep all columns too: the mask, not the buffer, forgets.
    """

    def __init__(self) -> None:
        super().__init__()
        self.used = 0
        self.room: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        *_: Any,
        **__: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append columns and return all keys and values in use, as views."""
        until = self.used + key_states.shape[2]
        if self.room is None:
            self.lazy_initialization(key_states, value_states)
            self.room = (_empty(key_states, until), _empty(value_states, until))
        for room, states in zip(self.room, (key_states, value_states), strict=True):
            room[:, :, self.used : until] = states
        self._use(until)
        return self.keys, self.values

    def rearrange(self, rows: torch.Tensor, batch: int, width: int) -> None:
        """Keep ``rows`` as the first of ``batch`` rows, and their last ``width`` columns with spare ones behind."""
        assert self.room is not None
        kept = min(width, self.used)
        fresh = []
        for room in self.room:
            new = room.new_zeros(batch, room.shape[1], width + _SPARE, room.shape[3])
            new[: len(rows), :, width - kept : width] = room[rows, :, self.used - kept : self.used]
            fresh.append(new)
        self.room = (fresh[0], fresh[1])
        self._use(width)

    def start(self, like: ColumnLayer, batch: int, width: int, spare: int = _SPARE) -> None:
        """Make zeroed buffers of ``batch`` rows with ``width`` columns in use, of the kind that ``like`` has."""
        assert like.room is not None
        keys, values = (room.new_zeros(batch, room.shape[1], width + spare, room.shape[3]) for room in like.room)
        self.lazy_initialization(keys, values)
        self.room = (keys, values)
        self._use(width)

    def copy(self, rows: slice, end: int, source: ColumnLayer, row: int, length: int) -> None:
        """Write the last ``length`` columns of row ``row`` of ``source`` into ``rows``, ending at column ``end``."""
        assert self.room is not None and source.room is not None
        for room, theirs in zip(self.room, source.room, strict=True):
            room[rows, :, end - length : end] = theirs[row, :, source.used - length : source.used]

    @property
    def full(self) -> bool:
        """Whether the next column has no place."""
        return self.room is not None and self.used == self.room[0].shape[2]

    def _use(self, until: int) -> None:
        assert self.room is not None
        self.used = until
        self.keys, self.values = (room[:, :, :until] for room in self.room)


def columns(config: Any) -> Cache:
    """Return an empty cache of ``ColumnLayer``, one for each layer that keeps any. Raises as ``keeping`` does."""
    return Cache(layers=[ColumnLayer() for _ in range(keeping(config))])


def keeping(config: Any) -> int:
    """Return how many layers keep keys and values: the first ones, if the last share what these keep (Gemma 3n).

    Raises ``ModelError`` for a model whose state isn't keys and values.
    """
    text = config.get_text_config()
    if unknown := sorted(set(getattr(text, "layer_types", None) or ()) - _KNOWN):
        raise ModelError(
            f"models of type {text.model_type} keep another kind of state than keys and values ({unknown[0]})",
            "honed can't generate with them yet; choose a model with attention in every layer.",
        )
    return int(text.num_hidden_layers - (getattr(text, "num_kv_shared_layers", None) or 0))


def same_window(config: Any) -> bool:
    """Whether every layer sees every earlier column, so that gaps between columns don't matter."""
    text = config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ())
    return kinds <= {"full_attention"} and not getattr(text, "sliding_window", None)


def rearrange(cache: Cache, rows: Sequence[int], batch: int, width: int) -> None:
    """``ColumnLayer.rearrange`` on every layer; one layer at a time exists twice."""
    index = torch.tensor(rows, dtype=torch.long, device=cache.layers[0].keys.device)
    for layer in cache.layers:
        layer.rearrange(index, batch, width)


def _empty(states: torch.Tensor, columns: int) -> torch.Tensor:
    return states.new_empty(states.shape[0], states.shape[1], columns, states.shape[3])
