"""Keys and values of rows that come and go, a slot each, and attention over them without padding or masks.

A pass computes tokens of many rows as if they were one row: one new token of some, a prompt of others, in whatever
number. Only attention knows of rows: each looks at its own slot, whose first column is its first token. A slot can
begin with what another begins with; that is copied then, layer by layer, even in the very pass that computes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

NAME = "honed_slots"
"""Name of this attention in transformers."""

_SPARE = 64
"""Columns that slots have beyond what is needed, and a quarter more: growing them copies them."""

_FEW = 32
"""A few tokens behind many go through plain products, which torch's fused kernel is slower at."""


@dataclass(frozen=True)
class Run:
    """Tokens of one row in a pass: ``ids`` behind the ``past`` that slot ``place`` holds.

    The first ``shared`` of these are to be copied from slot ``source``, which holds them or gets them in this pass.
    """

    place: int
    past: int
    ids: Sequence[int]
    source: int = 0
    shared: int = 0

    @property
    def end(self) -> int:
        """Columns of the slot in use when the pass is over."""
        return self.past + len(self.ids)


class Slots:
    """The buffers: for each layer keys and values, slots x heads x columns x size, which grow when they must."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._columns = 0
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def reserve(self, columns: int) -> None:
        """Have room for ``columns`` tokens in each slot."""
        if columns > self._columns:
            self._columns = columns + columns // 4 + _SPARE
            for layer, pair in self._layers.items():  # one at a time exists twice
                keys, values = (self._empty(old) for old in pair)
                keys[:, :, : pair[0].shape[2]], values[:, :, : pair[1].shape[2]] = pair
                self._layers[layer] = (keys, values)

    def layer(self, number: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return a layer's buffers, made like ``keys`` and ``values`` (1 x heads x tokens x size) at its first pass."""
        if number not in self._layers:
            self._layers[number] = (self._empty(keys), self._empty(values))
        return self._layers[number]

    def _empty(self, like: Tensor) -> Tensor:
        return like.new_empty(self._count, like.shape[1], self._columns, like.shape[3])


class Pass:
    """One pass over the model: the tokens of ``runs``, laid one behind the other."""

    def __init__(self, slots: Slots, runs: Sequence[Run]) -> None:
        self.runs = runs
        self.calls = 0
        self._slots = slots
        slots.reserve(max(run.end for run in runs))
        self._places = torch.tensor([run.place for run in runs for _ in run.ids])
        self._columns = torch.tensor([column for run in runs for column in range(run.past, run.end)])
        self._masks: dict[tuple[int, int], Tensor] = {}

    @cached_property
    def ids(self) -> Tensor:
        """1 x tokens."""
        return torch.tensor([[token for run in self.runs for token in run.ids]])

    @property
    def positions(self) -> Tensor:
        """1 x tokens."""
        return self._columns[None]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Keep ``key`` and ``value`` (1 x K x tokens x size) and return attention, 1 x tokens x H x size."""
        self.calls += 1
        keys, values = self._slots.layer(layer, key, value)
        keys[self._places, :, self._columns] = key[0].transpose(0, 1)
        values[self._places, :, self._columns] = value[0].transpose(0, 1)
        heads, tokens, size = query.shape[1:]
        groups = heads // key.shape[1]
        grouped = query[0].transpose(0, 1).reshape(tokens, key.shape[1], groups, size)
        out = torch.empty(tokens, key.shape[1], groups, value.shape[3], dtype=value.dtype)
        scaled = grouped * scale
        start = 0
        for run in self.runs:
            if run.shared:
                keys[run.place, :, : run.shared] = keys[run.source, :, : run.shared]
                values[run.place, :, : run.shared] = values[run.source, :, : run.shared]
            count, stop = len(run.ids), start + len(run.ids)
            if count == 1:
                scores = torch.bmm(scaled[start], keys[run.place, :, : run.end].transpose(1, 2))
                odds = scores.softmax(2, dtype=torch.float32).to(values.dtype)
                torch.bmm(odds, values[run.place, :, : run.end], out=out[start])
            elif count * groups <= _FEW and run.past:
                out[start:stop] = self._few(run, scaled[start:stop], keys, values)
            else:
                fused = self._many(run, query[:, :, start:stop], keys, values, scale)
                out[start:stop] = fused[0].transpose(0, 1).unflatten(1, (-1, groups))
            start = stop
        return out.flatten(1, 2)[None]

    def _few(self, run: Run, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attention of ``query``, tokens x K x groups x size, already scaled."""
        count, kinds, groups, size = query.shape
        rows = query.transpose(0, 1).reshape(kinds, count * groups, size)
        scores = torch.bmm(rows, keys[run.place, :, : run.end].transpose(1, 2)).view(kinds, count, groups, run.end)
        scores[..., run.past :] += self._later(count, scores.dtype)
        odds = scores.softmax(3, dtype=torch.float32).to(values.dtype).view(kinds, count * groups, run.end)
        return torch.bmm(odds, values[run.place, :, : run.end]).view(kinds, count, groups, -1).transpose(0, 1)

    def _many(self, run: Run, query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """Attention of ``query``, 1 x H x tokens x size, by torch's fused kernel."""
        own = slice(run.place, run.place + 1)
        count, mask = len(run.ids), None
        if run.past:
            mask = torch.ones(count, run.end, dtype=torch.bool).tril(run.past)
        return functional.scaled_dot_product_attention(
            query,
            keys[own, :, : run.end],
            values[own, :, : run.end],
            attn_mask=mask,
            is_causal=mask is None,
            scale=scale,
            enable_gqa=True,
        )

    def _later(self, count: int, dtype: torch.dtype) -> Tensor:
        """What hides later tokens from earlier ones, tokens x 1 x tokens."""
        return torch.full((count, count), -torch.inf, dtype=dtype).triu(1)[:, None]


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: Tensor | None,
    *,
    slots: Pass,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers asks for it; the pass travels as a keyword argument of the model's.

    Raises ``TypeError``, as a model does that knows no such argument, for attention that isn't plain.
    """
    if options.get("softcap") or options.get("s_aux") is not None:
        raise TypeError("scores that are capped, or sinks")
    layer: Any = module.layer_idx
    return slots.attend(layer, query, key, value, scaling or query.shape[-1] ** -0.5), None


@contextmanager
def attending(model: Any) -> Iterator[None]:
    """Let ``model`` use the slots while it lasts."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, _no_mask)
    before = model.config._attn_implementation
    model.config._attn_implementation = NAME
    try:
        yield
    finally:
        model.config._attn_implementation = before


def _no_mask(*_: Any, **__: Any) -> None:
    return None
