"""Answers from a model in this process to prompts that are all there at the start, in batches that stay full."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from honed.models import columns
from honed.models.batch import Batch, Row, make_row, shared_beginning
from honed.models.engine import Completion, Sampling
from honed.models.load import LoadedModel
from honed.records import Message


class LocalEngine:
    """An ``Engine`` on a loaded model. It keeps nothing between calls."""

    def __init__(self, loaded: LoadedModel, batch_size: int = 32) -> None:
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
        batch, places = self._batch(rows), {row: place for place, row in enumerate(rows)}
        while not batch.over:
            for row, _ in batch.step():
                if row.finish and on_done:
                    on_done(places[row], row.completion)
        return [row.completion for row in rows]

    def stream(self, prompt: Sequence[Message], sampling: Sampling) -> Iterator[str]:
        """Yield the answer's text as it comes (see ``Engine.stream``). Raises as ``generate`` does."""
        batch = self._batch(self._rows([prompt], sampling))
        while not batch.over:
            for _, piece in batch.step():
                if piece:
                    yield piece

    def _rows(self, prompts: Sequence[Sequence[Message]], sampling: Sampling) -> list[Row]:
        return [make_row(self._loaded, prompt, sampling, f"row {at + 1}: ") for at, prompt in enumerate(prompts)]

    def _batch(self, rows: Sequence[Row]) -> Batch:
        shared = shared_beginning(rows) if columns.same_window(self._loaded.model.config) else 0
        batch = Batch(self._loaded, min(self._size, len(rows)), shared=shared)
        # The longest first: those that follow fit into the columns that are there.
        batch.add(sorted(rows, key=lambda row: len(row.ids), reverse=True))
        return batch
