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

_CALL = 128
"""What one more product costs, in columns of a slot that could be read in its time (measured at 3 heads of 64)."""

_TOGETHER = 48
"""Rows in one product, at most: planning takes time too."""

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
    def single(self) -> bool:
        """Whether it is one token behind what its own slot holds."""
        return len(self.ids) == 1 and not self.shared

    @property
    def end(self) -> int:
        """Columns of the slot in use when the pass is over."""
        return self.past + len(self.ids)


class Slots:
    """The buffers: for each layer keys and values, slots x heads x columns x size, which grow when they must."""

    def __init__(self, count: int) -> None:
        self._used = [0] * count
        self._columns = 0
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def reserve(self, runs: Sequence[Run]) -> None:
        """Have room for what ``runs`` compute."""
        columns = max(run.end for run in runs)
        if columns > self._columns:
            self._columns = columns + columns // 4 + _SPARE
            for layer, pair in self._layers.items():  # one at a time exists twice
                self._layers[layer] = (self._grown(pair[0]), self._grown(pair[1]))
        for run in runs:
            self._used[run.place] = max(self._used[run.place], run.end)

    def _grown(self, old: Tensor) -> Tensor:
        """Copy what is in use only: columns that nothing was written to take no memory."""
        new = self._empty(old[0].transpose(0, 1))
        for place, used in enumerate(self._used):
            new[place, :, :used] = old[place, :, :used]
        return new

    def layer(self, number: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return a layer's buffers, made like ``keys`` and ``values`` (tokens x heads x size) at its first pass."""
        if number not in self._layers:
            self._layers[number] = (self._empty(keys), self._empty(values))
        return self._layers[number]

    def _empty(self, like: Tensor) -> Tensor:
        # Zeros, which cost nothing until they are written over: a product may read columns that nothing was kept in.
        return like.new_zeros(len(self._used), like.shape[1], self._columns, like.shape[2])


@dataclass(frozen=True)
class _Together:
    """Runs of one token each whose attention is one product: tokens ``start`` to ``stop`` of the pass."""

    start: int
    stop: int
    slots: slice
    columns: int
    places: Tensor | None
    """Where each stands within ``slots``; None if they fill them."""
    hidden: Tensor | None
    """What hides columns that a slot doesn't use: slots x 1 x columns; None if there are none."""


@dataclass(frozen=True)
class _Alone:
    """A run of several tokens; the first is the pass's token ``start``."""

    start: int
    run: Run


class Pass:
    """One pass over the model: the tokens of ``runs``, laid one behind the other."""

    def __init__(self, slots: Slots, runs: Sequence[Run]) -> None:
        self.runs = runs
        self.calls = 0
        self._slots = slots
        slots.reserve(runs)
        self._places = torch.tensor([run.place for run in runs for _ in run.ids])
        self._columns = torch.tensor([column for run in runs for column in range(run.past, run.end)])
        self._work = list(_planned(runs))

    @cached_property
    def ids(self) -> Tensor:
        """1 x tokens."""
        return torch.tensor([[token for run in self.runs for token in run.ids]])

    @property
    def positions(self) -> Tensor:
        """1 x tokens."""
        return self._columns[None]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Keep ``key`` and ``value`` (tokens x K x size); return attention of ``query``, tokens x H x size."""
        self.calls += 1
        keys, values = self._slots.layer(layer, key, value)
        keys[self._places, :, self._columns] = key
        values[self._places, :, self._columns] = value
        groups = query.shape[1] // key.shape[1]
        grouped = (query * scale).unflatten(1, (-1, groups))
        out = torch.empty(*grouped.shape[:3], value.shape[2], dtype=value.dtype)
        for work in self._work:
            if isinstance(work, _Together):
                out[work.start : work.stop] = _together(work, grouped[work.start : work.stop], keys, values)
                continue
            run, own = work.run, slice(work.start, work.start + len(work.run.ids))
            if run.shared:
                keys[run.place, :, : run.shared] = keys[run.source, :, : run.shared]
                values[run.place, :, : run.shared] = values[run.source, :, : run.shared]
            if len(run.ids) * groups <= _FEW and run.past:
                out[own] = _few(run, grouped[own], keys, values)
            else:
                out[own] = _many(run, query[own], keys, values, scale).unflatten(1, (-1, groups))
        return out.flatten(1, 2)


def in_order(runs: Sequence[Run]) -> list[Run]:
    """Return runs as a pass has them: those of single tokens by their places, then the others, which may copy from any
    before them.
    """
    single = sorted((run for run in runs if run.single), key=lambda run: run.place)
    return [*single, *(run for run in runs if not run.single)]


def _planned(runs: Sequence[Run]) -> Iterator[_Together | _Alone]:
    """Yield how a pass's attention is computed: single tokens together, other runs alone."""
    single = [run for run in runs if run.single]
    assert single == list(runs[: len(single)]), "runs are given as `in_order` has them"
    yield from _grouped(single)
    start = len(single)
    for run in runs[len(single) :]:
        yield _Alone(start, run)
        start += len(run.ids)


def _grouped(runs: Sequence[Run]) -> Iterator[_Together]:
    """Cut runs of one token each, in the order of their places, so that reading their slots costs least.

    A group reads as many columns of each slot between its first and its last as its longest uses, and ``_CALL`` more.
    """
    best = [(0, 0)]
    """For the first n runs: the columns read, and where their last group begins."""
    for stop in range(1, len(runs) + 1):
        longest, cheapest = 0, (1 << 60, 0)
        for first in range(stop - 1, max(stop - _TOGETHER, 0) - 1, -1):
            longest = max(longest, runs[first].end)
            span = runs[stop - 1].place - runs[first].place + 1
            cheapest = min(cheapest, (best[first][0] + span * longest + _CALL, first))
        best.append(cheapest)
    cuts, stop = [], len(runs)
    while stop:
        cuts.append((best[stop][1], stop))
        stop = best[stop][1]
    for first, stop in reversed(cuts):
        yield _group(runs[first:stop], first)


def _group(runs: Sequence[Run], start: int) -> _Together:
    low, high = runs[0].place, runs[-1].place + 1
    ends = [0] * (high - low)
    for run in runs:
        ends[run.place - low] = run.end
    columns, filled = max(ends), len(runs) == high - low
    hidden = None
    if min(ends) < columns:
        hidden = torch.zeros(len(ends), 1, columns)
        # A slot between them that no run is in is read as it is: what comes of it is thrown away.
        for line, end in enumerate(ends):
            hidden[line, :, end or columns :] = -torch.inf
    places = None if filled else torch.tensor([run.place - low for run in runs])
    return _Together(start, start + len(runs), slice(low, high), columns, places, hidden)


def _together(work: _Together, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention of ``query``, tokens x K x groups x size, already scaled."""
    if work.places is not None:
        wide = query.new_zeros(work.slots.stop - work.slots.start, *query.shape[1:])
        query = wide.index_copy_(0, work.places, query)
    kinds, groups = query.shape[1:3]
    behind = keys[work.slots, :, : work.columns].flatten(0, 1)
    scores = torch.bmm(query.flatten(0, 1), behind.transpose(1, 2))
    if work.hidden is not None:
        scores.view(len(query), kinds * groups, -1).add_(work.hidden)
    odds = scores.softmax(2, dtype=torch.float32).to(values.dtype)
    found = torch.bmm(odds, values[work.slots, :, : work.columns].flatten(0, 1))
    found = found.view(len(query), kinds, groups, -1)
    return found if work.places is None else found[work.places]


def _few(run: Run, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention of ``query``, tokens x K x groups x size, already scaled."""
    count, kinds, groups, size = query.shape
    rows = query.transpose(0, 1).reshape(kinds, count * groups, size)
    scores = torch.bmm(rows, keys[run.place, :, : run.end].transpose(1, 2)).view(kinds, count, groups, run.end)
    scores[..., run.past :] += torch.full((count, count), -torch.inf, dtype=scores.dtype).triu(1)[:, None]
    odds = scores.softmax(3, dtype=torch.float32).to(values.dtype).view(kinds, count * groups, run.end)
    return torch.bmm(odds, values[run.place, :, : run.end]).view(kinds, count, groups, -1).transpose(0, 1)


def _many(run: Run, query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """Attention of ``query``, tokens x H x size, by torch's fused kernel."""
    own = slice(run.place, run.place + 1)
    mask = torch.ones(len(query), run.end, dtype=torch.bool).tril(run.past) if run.past else None
    found: Tensor = functional.scaled_dot_product_attention(
        query.transpose(0, 1)[None],
        keys[own, :, : run.end],
        values[own, :, : run.end],
        attn_mask=mask,
        is_causal=mask is None,
        scale=scale,
        enable_gqa=True,
    )
    return found[0].transpose(0, 1)


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
    queries, keys, values = (part[0].transpose(0, 1) for part in (query, key, value))
    return slots.attend(layer, queries, keys, values, scaling or query.shape[-1] ** -0.5)[None], None


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
