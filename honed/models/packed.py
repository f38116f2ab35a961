"""The running batch on a CPU: every pass computes just the tokens that are wanted, of rows of any length, in any state.

A pass holds one new token of each row that answers, with tokens that are guessed to follow it, and the prompts of rows
that join. So a row joins and leaves at any step and nothing is padded. What a row's beginning has in common with a row
that runs, or did in the same slot, isn't computed again: a system prompt, a few examples, the turns of a chat.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch

from honed.models.load import LoadedModel
from honed.models.packed_forward import PackedForward
from honed.models.row import Row
from honed.models.slots import Pass, Run, Slots, in_order

_PROMPT_TOKENS = 512
"""Tokens of prompts in a pass: enough to keep the processor busy, and those who read an answer don't wait for long."""

_SHARED = 16
"""A beginning is shared if it has at least so many tokens."""

_GUESSES = 16
_GUESSED_TOKENS = 512
"""Guesses for each row, and tokens with guesses in a pass."""


class PackedBatch:
    """Up to ``size`` rows computed together; the others wait. ``guess`` lets a pass look ahead in greedy answers."""

    def __init__(self, loaded: LoadedModel, forward: PackedForward, size: int, *, guess: bool = True) -> None:
        assert size >= 1
        self._forward = forward
        self._stops = loaded.chat.stop_ids
        self._most = min(_GUESSES, _GUESSED_TOKENS // size) if guess else 0
        self._waiting: deque[Row] = deque()
        self._rows: list[Row | None] = [None] * size
        self._free: deque[int] = deque(range(size))
        self._clear()

    @property
    def over(self) -> bool:
        """Whether no row waits or runs."""
        return not self._waiting and not any(self._rows)

    @property
    def rows(self) -> list[Row]:
        """Every row that runs or waits."""
        return [*filter(None, self._rows), *self._waiting]

    def add(self, rows: Iterable[Row]) -> None:
        """Let ``rows`` wait for places, in their order."""
        self._waiting.extend(rows)

    def drop(self, row: Row) -> None:
        """Take a row out, wherever it is; its place is free."""
        if row in self._waiting:
            self._waiting.remove(row)
        elif row in self._rows:
            self._leave(self._rows.index(row))

    @torch.inference_mode()
    def step(self) -> list[tuple[Row, str]]:
        """Compute a pass; return the rows that got tokens with their new text.

        A row that ended says so in ``finish`` and is no longer in the batch.
        """
        try:
            return self._step()
        except BaseException:
            self._clear()  # the slots may lack what they were to hold
            raise

    def _clear(self) -> None:
        self._slots = Slots(len(self._rows))
        self._held: list[list[int]] = [[] for _ in self._rows]
        """The tokens whose keys and values each slot holds, of a row that ended too."""

    def _step(self) -> list[tuple[Row, str]]:
        runs = self._runs()
        work, start = Pass(self._slots, runs), 0
        wanted: list[int] = []
        places: list[tuple[Run, int]] = []
        for run in runs:
            row, count = self._rows[run.place], len(run.ids)
            assert row is not None
            if run.end >= len(row.sequence):  # up to its last token: what comes next is asked for
                first = len(row.sequence) - 1 - run.past
                places.append((run, len(wanted)))
                wanted += range(start + first, start + count)
            start += count
        logits = self._forward(work, wanted)
        greedy = logits.argmax(-1).tolist()
        return [self._take(run, logits[first:], greedy[first:]) for run, first in places]

    def _runs(self) -> list[Run]:
        """What the next pass computes; the slots are taken to hold it already, so that rows can share it."""
        runs: list[Run] = []
        room = _PROMPT_TOKENS
        for place, row in enumerate(self._rows):
            if row is None:
                continue
            past = len(self._held[place])
            if len(row.sequence) - past == 1:
                ids = [row.last, *row.guesses(self._most)] if row.made else row.sequence[past:]
                runs.append(Run(place, past, ids))
            elif room:
                runs.append(Run(place, past, row.sequence[past : past + room]))
                room -= len(runs[-1].ids)
            else:
                continue
            self._held[place] = self._held[place] + list(runs[-1].ids)
        while self._waiting and self._free and room:
            run = self._seat(self._waiting.popleft(), room)
            runs.append(run)
            room -= len(run.ids)
        return in_order(runs)

    def _seat(self, row: Row, room: int) -> Run:
        """Give a row the free place that holds most of its beginning, or one to which that is copied."""
        shared = [_common(held, row.ids) for held in self._held]
        best = max(self._free, key=shared.__getitem__)
        run = Run(best, shared[best], ())
        source = max(range(len(shared)), key=shared.__getitem__)
        if shared[source] > shared[best]:
            best = self._free[0]  # the one that has been free the longest
            run = Run(best, shared[source], (), source, shared[source])
        run = replace(run, ids=row.ids[run.past : run.past + room])
        self._free.remove(best)
        self._rows[best] = row
        self._held[best] = row.ids[: run.end]
        return run

    def _take(self, run: Run, logits: torch.Tensor, greedy: Sequence[int]) -> tuple[Row, str]:
        """Take the tokens that follow what is certain: one, and one more for each guess that was right."""
        row, pieces = self._rows[run.place], []
        assert row is not None
        guesses = run.ids[len(row.sequence) - run.past :]
        for number in range(len(guesses) + 1):
            token = row.chooser.choose(logits[number], greedy[number])
            pieces.append(row.take(token, self._stops))
            if row.finish or (number < len(guesses) and token != guesses[number]):
                break
        self._held[run.place] = row.sequence[:-1]
        if row.finish:
            self._leave(run.place)
        return row, "".join(pieces)

    def _leave(self, place: int) -> None:
        self._rows[place] = None
        self._free.append(place)


def _common(held: Sequence[int], ids: Sequence[int]) -> int:
    """Length of the beginning that both have; a row keeps a token to be computed, and little isn't worth it."""
    most = min(len(held), len(ids) - 1)
    if most < _SHARED or held[:_SHARED] != ids[:_SHARED]:
        return 0
    return next((at for at in range(_SHARED, most) if held[at] != ids[at]), most)
