"""Answers from a model in this process to prompts that are all there at the start, in batches that stay full."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from honed.models import columns
from honed.models.batch import Batch, batch
from honed.models.engine import Completion, Reasoning, Sampling
from honed.models.load import LoadedModel
from honed.models.packed_forward import PackedForward, packed_forward
from honed.models.padded import shared_beginning
from honed.models.room import rows_that_fit
from honed.models.row import Row, make_row
from honed.records import Message


class LocalEngine:
    """An ``Engine`` on a loaded model, for up to ``batch_size`` rows together. It keeps no answers between calls."""

    def __init__(self, loaded: LoadedModel, batch_size: int = 96) -> None:
        assert batch_size >= 1
        self._loaded = loaded
        self._size = batch_size

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
        if not rows:
            return []
        running, places = self._batch(rows), {row: place for place, row in enumerate(rows)}
        while not running.over:
            for row, _ in running.step():
                if row.finish and on_done:
                    on_done(places[row], row.completion)
        return [row.completion for row in rows]

    def stream(self, prompt: Sequence[Message], sampling: Sampling) -> Iterator[str | Reasoning]:
        """Yield the answer's text as it comes (see ``Engine.stream``). Raises as ``generate`` does."""
        running = self._batch(self._rows([prompt], sampling))
        while not running.over:
            for row, piece in running.step():
                if reasoning := row.reasoning():
                    yield Reasoning(reasoning)
                if piece:
                    yield piece

    @cached_property
    def _forward(self) -> PackedForward | None:
        return packed_forward(self._loaded, self._size)

    def _rows(self, prompts: Sequence[Sequence[Message]], sampling: Sampling) -> list[Row]:
        return [make_row(self._loaded, prompt, sampling, f"row {at + 1}: ") for at, prompt in enumerate(prompts)]

    def _batch(self, rows: Sequence[Row]) -> Batch:
        shared = shared_beginning(rows) if columns.same_window(self._loaded.model.config) else 0
        size = rows_that_fit(self._loaded, rows, self._size)
        made = batch(self._loaded, size, forward=self._forward, shared=shared)
        made.add(in_order(rows))
        return made


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Return rows in the order in which they are best computed: the longest first.

    In padded batches those that follow fit into the columns that are there.
    """
    return sorted(rows, key=lambda row: len(row.ids), reverse=True)
