"""Which rows go through the model together, and how they lie in memory.

The order is a pure function of (row lengths, settings): step N is the same after a resume as without one.
A pack is several rows end to end in one sequence, each with its own positions; ``attention.py`` keeps them apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from honed.models.chat import Encoded


@dataclass(frozen=True)
class StepRows:
    """One optimizer step: which rows (indices into the data set) share each forward pass."""

    epoch: int
    packs: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Pack:
    """Rows laid end to end, T tokens in all, P of them supervised.

    ``ids`` and ``positions`` are 1 x T; ``lengths`` sum to T. Position ``at[p]`` of the sequence predicts
    ``targets[p]`` with loss weight ``weights[p]``; all three have shape (P,). ``row[p]`` says whose token it is.
    """

    ids: Tensor
    positions: Tensor
    lengths: tuple[int, ...]
    at: Tensor
    targets: Tensor
    weights: Tensor
    row: Tensor

    @property
    def weight(self) -> float:
        """What the pack weighs in its step's mean: its loss weights, which are its supervised tokens."""
        return float(self.weights.sum())

    @property
    def tokens(self) -> int:
        """T."""
        return sum(self.lengths)

    def to(self, device: str) -> Pack:
        """Return the pack on ``device``."""
        moved = (tensor.to(device) for tensor in (self.ids, self.positions, self.at, self.targets, self.weights))
        ids, positions, at, targets, weights = moved
        return Pack(ids, positions, self.lengths, at, targets, weights, self.row.to(device))


def collate(rows: Sequence[Encoded]) -> Pack:
    """Lay rows end to end. Labels are shifted here, once: token j of a row is predicted from its position j - 1."""
    ids: list[int] = []
    positions: list[int] = []
    at: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    owner: list[int] = []
    for number, row in enumerate(rows):
        start = len(ids)
        ids += row.ids
        positions += range(len(row.ids))
        for place in range(1, len(row.ids)):
            if row.weights[place] > 0:
                at.append(start + place - 1)
                targets.append(row.ids[place])
                weights.append(row.weights[place])
                owner.append(number)
    return Pack(
        ids=torch.tensor([ids]),
        positions=torch.tensor([positions]),
        lengths=tuple(len(row.ids) for row in rows),
        at=torch.tensor(at, dtype=torch.long),
        targets=torch.tensor(targets, dtype=torch.long),
        weights=torch.tensor(weights, dtype=torch.float32),
        row=torch.tensor(owner, dtype=torch.long),
    )


def plan(
    lengths: Sequence[int], *, epochs: float, batch_tokens: int, pack_tokens: int, packing: bool, seed: int
) -> list[StepRows]:
    """Return every optimizer step of a run, in order.

    Each epoch is shuffled by (seed, epoch). A step takes rows until it has ``batch_tokens`` tokens; within it,
    rows are packed by first fit, longest first, into passes of ``pack_tokens`` at most (a longer row goes alone).
    """
    steps: list[StepRows] = []
    for epoch in range(math.ceil(epochs)):
        order = np.random.default_rng([seed, epoch]).permutation(len(lengths)).tolist()
        batches = _fill(order, lengths, batch_tokens)
        share = min(1.0, epochs - epoch)
        steps += [
            StepRows(epoch, _packs(batch, lengths, pack_tokens if packing else 0))
            for batch in batches[: max(1, round(share * len(batches)))]
        ]
    return steps


def _fill(order: Sequence[int], lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Cut the order into equal shares of about ``batch_tokens``, so that no step is a small left-over."""
    total = sum(lengths[index] for index in order)
    count = max(1, round(total / batch_tokens))
    batches: list[list[int]] = [[] for _ in range(count)]
    seen = 0
    for index in order:
        batches[min(count - 1, int((seen + lengths[index] / 2) * count / total))].append(index)
        seen += lengths[index]
    return [batch for batch in batches if batch]


def _packs(batch: Sequence[int], lengths: Sequence[int], budget: int) -> tuple[tuple[int, ...], ...]:
    packs: list[list[int]] = []
    room: list[int] = []
    for index in sorted(batch, key=lambda index: (-lengths[index], index)):
        fit = next((number for number, left in enumerate(room) if left >= lengths[index]), None)
        if fit is None:
            packs.append([index])
            room.append(budget - lengths[index])
        else:
            packs[fit].append(index)
            room[fit] -= lengths[index]
    return tuple(tuple(pack) for pack in packs)
