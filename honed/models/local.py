"""Answers from a model in this process: batches that stay full, on our own key-value buffers.

Rows are sorted by length and padded on the left, so that every row's last token is in the last column. When rows
end, waiting prompts take their places; when none wait, the batch shrinks. So no step computes much for nobody, which
is where batched generation loses its time when answers differ in length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from honed.errors import ModelError
from honed.models import columns
from honed.models.engine import Completion, Sampling
from honed.models.load import LoadedModel
from honed.models.pieces import Pieces
from honed.models.sampling import Chooser
from honed.records import Message

_PREFILL_TOKENS = 1024
"""Padded prompt tokens computed at once: enough to keep the processor busy, and few rows of unequal length."""

_PREFIX = 16
"""A beginning that all prompts share is computed once if it has at least so many tokens."""

_IDLE = 8
"""A batch is refilled or shrunk once an eighth of its rows has ended; each costs a copy or a small forward pass."""


@dataclass
class _Row:
    """A prompt on its way to an answer."""

    index: int
    ids: list[int]
    limit: int
    chooser: Chooser
    pieces: Pieces
    text: list[str] = field(default_factory=list)
    last: int = 0
    made: int = 0
    finish: str = ""

    @property
    def length(self) -> int:
        """Columns of the cache that belong to the row: the newest token isn't in it yet."""
        return len(self.ids) + self.made - 1

    def take(self, token: int, stop_ids: frozenset[int]) -> str:
        """Take the next token; return the text that became certain."""
        self.last, self.made = token, self.made + 1
        if token in stop_ids:
            self.finish = "stop"
            return self.pieces.end()
        piece = self.pieces.add(token)
        if self.pieces.stopped:
            self.finish = "stop"
        elif self.made == self.limit:
            self.finish = "length"
            piece += self.pieces.end()
        return piece

    @property
    def completion(self) -> Completion:
        return Completion.model_validate({"text": "".join(self.text), "tokens": self.made, "finish": self.finish})


class LocalEngine:
    """An ``Engine`` on a loaded model. It keeps nothing between calls."""

    def __init__(self, loaded: LoadedModel, batch_size: int = 32) -> None:
        assert batch_size >= 1
        self._loaded = loaded
        self._batch = batch_size

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_done: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """Return one completion a prompt, in their order (see ``Engine.generate``).

        A row's answer depends on its prompt and the seed, not on the rows beside it, up to the rounding of the
        arithmetic. Raises ``ModelError`` naming the first row whose prompt leaves no room in the context, before
        anything is computed.
        """
        rows = self._rows(prompts, sampling)
        done: dict[int, Completion] = {}
        run = _Run(self._loaded, rows, min(self._batch, len(rows)))
        while not run.over:
            for row, piece in run.step():
                row.text.append(piece)
                if row.finish:
                    done[row.index] = row.completion
                    if on_done:
                        on_done(row.index, done[row.index])
        return [done[index] for index in range(len(prompts))]

    def stream(self, prompt: Sequence[Message], sampling: Sampling) -> Iterator[str]:
        """Yield the answer's text as it comes (see ``Engine.stream``). Raises as ``generate`` does."""
        run = _Run(self._loaded, self._rows([prompt], sampling), 1)
        while not run.over:
            for _, piece in run.step():
                if piece:
                    yield piece

    def _rows(self, prompts: Sequence[Sequence[Message]], sampling: Sampling) -> list[_Row]:
        chat, context = self._loaded.chat, self._loaded.context
        rows = []
        for index, prompt in enumerate(prompts):
            ids = chat.prompt_ids(prompt)
            if len(ids) > context - 1:
                raise ModelError(
                    f"row {index + 1}: the prompt has {len(ids)} tokens, and the model's context is {context}",
                    f"Shorten it to {context - 1} tokens at most, or choose a model with a longer context.",
                )
            limit = min(sampling.max_tokens, context - len(ids))
            rows.append(_Row(index, ids, limit, Chooser(sampling, ids), Pieces(chat, sampling.stop)))
        return rows


class _Run:
    """One call's batch: ``slots`` are the rows in it, by their place in the buffers."""

    def __init__(self, loaded: LoadedModel, rows: list[_Row], batch: int) -> None:
        self._model: Any = loaded.model
        self._stops = loaded.chat.stop_ids
        self._pad = loaded.chat.pad_id
        # The longest first: those that follow fit into the columns that are there.
        self._waiting = sorted(rows, key=lambda row: len(row.ids))
        self._slots: list[_Row | None] = [None] * batch
        self._cache = columns.columns(loaded.model.config)
        self._width = 0
        self._shared = _shared([row.ids for row in rows]) if columns.same_window(loaded.model.config) else 0
        self._prefix = columns.columns(loaded.model.config)

    @property
    def over(self) -> bool:
        """Whether every row has ended."""
        return not self._waiting and not any(self._slots)

    @torch.inference_mode()
    def step(self) -> list[tuple[_Row, str]]:
        """Compute the next token of every row, or the first of rows that join; return them with their new text."""
        free = [place for place, row in enumerate(self._slots) if row is None]
        if self._waiting and len(free) * _IDLE >= len(self._slots):
            return self._join(free)
        if len(free) * _IDLE >= len(self._slots):
            self._arrange([row for row in self._slots if row], len(self._slots) - len(free))
        elif self._cache.layers[0].full:
            self._arrange([row for row in self._slots if row], len(self._slots))
        return self._next()

    def _next(self) -> list[tuple[_Row, str]]:
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
        return self._take(rows, logits[[place for place, _ in rows]])

    def _join(self, free: list[int]) -> list[tuple[_Row, str]]:
        """Compute the prompts of waiting rows, behind the prefix they share, and give each one of the free places."""
        if self._shared and not self._prefix.layers[0].used:
            self._prefill([self._waiting[-1].ids[: self._shared]], self._prefix)
        rows = [self._waiting.pop()]
        longest = len(rows[0].ids) - self._shared
        while self._waiting and len(rows) < len(free) and (len(rows) + 1) * longest <= _PREFILL_TOKENS:
            rows.append(self._waiting.pop())
        fresh = columns.columns(self._model.config)
        if self._shared:
            for layer, prefix in zip(fresh.layers, self._prefix.layers, strict=True):
                layer.start(prefix, len(rows), self._shared, longest)
                layer.copy(slice(None), self._shared, prefix, 0, self._shared)
        logits = self._prefill([row.ids[self._shared :] for row in rows], fresh)
        taken = list(zip(free, rows, strict=False))
        result = self._take(taken, logits)
        self._place(taken, fresh, self._shared + longest)
        return result

    def _prefill(self, rows: list[list[int]], cache: Any) -> torch.Tensor:
        """Compute ``rows``, padded on the left, behind what ``cache`` holds; return the last column's logits."""
        before, longest, device = cache.layers[0].used, max(map(len, rows)), self._model.device
        ids = torch.tensor([[self._pad] * (longest - len(row)) + row for row in rows], device=device)
        starts = torch.tensor([[longest - len(row)] for row in rows], device=device)
        places = torch.arange(-before, longest, device=device)
        mask = (places >= starts) | (places < 0)
        return self._forward(ids, mask, before + (places[before:] - starts).clamp(min=0), cache)

    def _place(self, taken: list[tuple[int, _Row]], fresh: Any, longest: int) -> None:
        """Copy the rows' keys and values to their places; a row that ended at its first token needs none."""
        if not self._width:
            self._width = longest
            for layer, theirs in zip(self._cache.layers, fresh.layers, strict=True):
                layer.start(theirs, len(self._slots), longest)
        elif longest > self._width:
            self._arrange(self._slots, len(self._slots), longest)
        for source, (place, row) in enumerate(taken):
            if row.finish:
                continue
            self._slots[place] = row
            own, at = len(row.ids) - self._shared, slice(place, place + 1)
            for layer, theirs, prefix in zip(self._cache.layers, fresh.layers, self._prefix.layers, strict=True):
                layer.copy(at, self._width, theirs, source, own)
                if self._shared:
                    layer.copy(at, self._width - own, prefix, 0, self._shared)

    def _arrange(self, rows: Sequence[_Row | None], batch: int, least: int = 1) -> None:
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

    def _take(self, rows: list[tuple[int, _Row]], logits: torch.Tensor) -> list[tuple[_Row, str]]:
        greedy = logits.argmax(-1).tolist()
        result = []
        for number, (place, row) in enumerate(rows):
            token = row.chooser.choose(logits[number], greedy[number])
            result.append((row, row.take(token, self._stops)))
            if row.finish and place < len(self._slots) and self._slots[place] is row:
                self._slots[place] = None
        return result


def _shared(rows: Sequence[list[int]]) -> int:
    """Length of the beginning that all rows share, if computing it once is worth it; every row keeps a token."""
    if len(rows) < 2:
        return 0
    least, most = min(rows), max(rows)  # what the two extremes share, all that lie between them share
    same = next((at for at, (a, b) in enumerate(zip(least, most, strict=False)) if a != b), min(map(len, rows)))
    same = min(same, min(map(len, rows)) - 1)
    return same if same >= _PREFIX else 0
