"""A running batch of padded rows, for any device and any attention: rows join at any step and leave when they end.

Rows are padded on the left, so that every row's last token is in the last column. When rows end, waiting prompts
take their places; while none wait, the batch shrinks. So no step computes much for nobody, which is where batched
generation loses its time when answers differ in length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from honed.models import columns
from honed.models.load import LoadedModel
from honed.models.row import Row

_PREFILL_TOKENS = 1024
"""Padded prompt tokens computed at once: enough to keep the processor busy, and few rows of unequal length."""

_PREFIX = 16
"""A beginning that all prompts share is computed once if it has at least so many tokens."""

_IDLE = 8
"""A batch is shrunk once an eighth of its rows has ended; it costs a copy of the rest."""


class PaddedBatch:
    """Up to ``size`` rows computed together; the others wait. ``slots`` are the rows, by their place in the buffers.

    Waiting rows join once one in ``patience`` places is free: 8 fills places in larger groups, for the throughput of
    a closed set of rows; ``size`` or more lets each row join at once, for the patience of people. ``shared`` is the
    length of a beginning that all rows have in common, computed once.
    """

    def __init__(self, loaded: LoadedModel, size: int, *, patience: int | None = None, shared: int = 0) -> None:
        assert size >= 1
        self._model: Any = loaded.model
        self._stops = loaded.chat.stop_ids
        self._pad = loaded.chat.pad_id
        self._size = size
        self._patience = patience or _IDLE
        self._waiting: deque[Row] = deque()
        self._shared = shared
        self._prefix = columns.columns(loaded.model.config)
        self._clear()

    @property
    def over(self) -> bool:
        """Whether no row waits or runs."""
        return not self._waiting and not any(self._slots)

    @property
    def rows(self) -> list[Row]:
        """Every row that runs or waits."""
        return [*filter(None, self._slots), *self._waiting]

    def add(self, rows: Iterable[Row]) -> None:
        """Let ``rows`` wait for places, in their order."""
        self._waiting.extend(rows)

    def drop(self, row: Row) -> None:
        """Take a row out, wherever it is; its place is free."""
        if row in self._waiting:
            self._waiting.remove(row)
        elif row in self._slots:
            self._slots[self._slots.index(row)] = None

    @torch.inference_mode()
    def step(self) -> list[tuple[Row, str]]:
        """Compute the next token of every row, or the first of rows that join; return them with their new text.

        A row that ended says so in ``finish`` and is no longer in the batch.
        """
        rows = [row for row in self._slots if row]
        if not rows:
            self._clear()
        places = self._size - len(rows)
        if self._waiting and places * self._patience >= self._size:
            return self._join(places)
        if (len(self._slots) - len(rows)) * _IDLE >= len(self._slots):
            self._arrange(rows, len(rows))
        elif self._cache.layers[0].full:
            self._arrange(rows, len(self._slots))
        return self._next()

    def _clear(self) -> None:
        self._slots: list[Row | None] = []
        self._cache = columns.columns(self._model.config)
        self._width = 0

    def _next(self) -> list[tuple[Row, str]]:
        rows = [(place, row) for place, row in enumerate(self._slots) if row]
        device, count = self._model.device, len(self._slots)
        ids = torch.full((count, 1), self._pad)
        starts = torch.full((count, 1), self._width)
        for place, row in rows:
            ids[place, 0] = row.last
            starts[place, 0] = self._width - row.length
        ids, starts = ids.to(device), starts.to(device)
        self._width += 1
        mask = torch.arange(self._width, device=device) >= starts
        logits = self._forward(ids, mask, self._width - 1 - starts, self._cache)
        result = self._take([row for _, row in rows], logits[[place for place, _ in rows]])
        self._slots = [row if row and not row.finish else None for row in self._slots]
        return result

    def _join(self, places: int) -> list[tuple[Row, str]]:
        """Compute the prompts of waiting rows, behind the prefix they share, and give each one a place."""
        if self._shared and not self._prefix.layers[0].used:
            self._prefill([self._waiting[0].ids[: self._shared]], self._prefix)
        rows: list[Row] = []
        longest = 0
        while self._waiting and len(rows) < places:
            own = max(longest, len(self._waiting[0].ids) - self._shared)
            if rows and (len(rows) + 1) * own > _PREFILL_TOKENS:
                break
            rows.append(self._waiting.popleft())
            longest = own
        fresh = columns.columns(self._model.config)
        if self._shared:
            for layer, prefix in zip(fresh.layers, self._prefix.layers, strict=True):
                layer.start(prefix, len(rows), self._shared, longest)
                layer.copy(slice(None), self._shared, prefix, 0, self._shared)
        result = self._take(rows, self._prefill([row.ids[self._shared :] for row in rows], fresh))
        self._place(rows, fresh, self._shared + longest)
        return result

    def _prefill(self, rows: list[list[int]], cache: Any) -> torch.Tensor:
        """Compute ``rows``, padded on the left, behind what ``cache`` holds; return the last column's logits."""
        before, longest, device = cache.layers[0].used, max(map(len, rows)), self._model.device
        ids = torch.tensor([[self._pad] * (longest - len(row)) + row for row in rows], device=device)
        starts = torch.tensor([[longest - len(row)] for row in rows], device=device)
        places = torch.arange(-before, longest, device=device)
        mask = (places >= starts) | (places < 0)
        return self._forward(ids, mask, before + (places[before:] - starts).clamp(min=0), cache)

    def _place(self, rows: list[Row], fresh: Any, longest: int) -> None:
        """Copy the rows' keys and values to free places; a row that ended at its first token needs none."""
        staying = [(source, row) for source, row in enumerate(rows) if not row.finish]
        if not staying:
            return
        running = [row for row in self._slots if row]
        batch = min(self._size, len(running) + len(staying) + len(self._waiting))
        if not self._width:
            self._width, self._slots = longest, [None] * batch
            for layer, theirs in zip(self._cache.layers, fresh.layers, strict=True):
                layer.start(theirs, batch, longest)
        elif batch > len(self._slots):
            self._arrange(running, batch, longest)
        elif longest > self._width:
            self._arrange(self._slots, len(self._slots), longest)
        free = (place for place, row in enumerate(self._slots) if row is None)
        for (source, row), place in zip(staying, list(free), strict=False):
            self._slots[place] = row
            own, at = len(row.ids) - self._shared, slice(place, place + 1)
            for layer, theirs, prefix in zip(self._cache.layers, fresh.layers, self._prefix.layers, strict=True):
                layer.copy(at, self._width, theirs, source, own)
                if self._shared:
                    layer.copy(at, self._width - own, prefix, 0, self._shared)

    def _arrange(self, rows: Sequence[Row | None], batch: int, least: int = 1) -> None:
        """Make ``rows`` the batch's first ones, in buffers just as wide as they need."""
        old = [self._slots.index(row) if row else place for place, row in enumerate(rows)]
        self._width = max(least, *(row.length for row in rows if row), 1)
        columns.rearrange(self._cache, old, batch, self._width)
        self._slots = [*rows, *[None] * (batch - len(rows))]

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Any) -> torch.Tensor:
        """Return the logits of the last column, rows x vocabulary, in float32."""
        out = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: torch.Tensor = out.logits[:, -1].float()
        return logits

    def _take(self, rows: list[Row], logits: torch.Tensor) -> list[tuple[Row, str]]:
        greedy = logits.argmax(-1).tolist()
        return [
            (row, row.take(row.chooser.choose(logits[number], greedy[number]), self._stops))
            for number, row in enumerate(rows)
        ]


def shared_beginning(rows: Sequence[Row]) -> int:
    """Length of the beginning that all rows share, if computing it once is worth it; every row keeps a token."""
    if len(rows) < 2:
        return 0
    ids = [row.ids for row in rows]
    least, most = min(ids), max(ids)  # what the two extremes share, all that lie between them share
    same = next((at for at, (a, b) in enumerate(zip(least, most, strict=False)) if a != b), min(map(len, ids)))
    same = min(same, min(map(len, ids)) - 1)
    return same if same >= _PREFIX else 0
