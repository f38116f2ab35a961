"""Which rows go through the model together, and how they lie in memory.

The order is a pure function of (rows, settings): step N is the same after a resume as without one.
A pack is several rows in one sequence, each with its own positions; what they begin with in common is there once
(``prefixes.py``), and ``attention.py`` keeps the rest apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from honed.models.chat import Encoded
from honed.train import prefixes
from honed.train.prefixes import Prefixes


@dataclass(frozen=True)
class StepRows:
    """One optimizer step: which rows (indices into the data set) share each forward pass."""

    epoch: int
    packs: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Pack:
    """Rows of D tokens in all, laid out as a forest of T tokens, P of them supervised (counted for each row).

    ``ids`` and ``positions`` are 1 x T; the segments' ``lengths`` sum to T, ``parents`` are their parents' indices (-1:
    none). Position ``at[p]`` of the sequence predicts ``targets[p]`` with loss weight ``weights[p]``; all three have
    shape (P,), row after row: ``counts`` says how many are each one's. A position may predict for several rows.
    """

    ids: Tensor
    positions: Tensor
    lengths: tuple[int, ...]
    parents: tuple[int, ...]
    at: Tensor
    targets: Tensor
    weights: Tensor
    counts: tuple[int, ...]
    step_weight: float | None = None
    """What the loss will be divided by before its gradients are made, where that is known (``Objective.ready``)."""

    @property
    def weight(self) -> float:
        """What the pack weighs in its step's mean: its loss weights, which are its supervised tokens."""
        return float(self.weights.sum())

    @property
    def packs(self) -> tuple[Pack]:
        """This one."""
        return (self,)

    @property
    def tokens(self) -> int:
        """T, the tokens that are computed."""
        return sum(self.lengths)

    def to(self, device: str) -> Pack:
        """Return the pack on ``device``."""
        names = ("ids", "positions", "at", "targets", "weights")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def collate(rows: Sequence[Encoded], *, share: bool = True) -> Pack:
    """Lay rows into one sequence; with ``share``, a prefix that some have in common is laid once.

    Labels are shifted here, once: token j of a row is predicted from where its token j - 1 lies.
    """
    tree = prefixes.grow([row.ids for row in rows], prefixes.LEAST if share else None)
    at: list[npt.NDArray[np.int64]] = []
    targets: list[npt.NDArray[np.int64]] = []
    weights: list[npt.NDArray[np.float32]] = []
    for row, places in zip(rows, tree.places, strict=True):
        given = np.array(row.weights[1:])
        learned = given > 0
        at.append(np.array(places[: len(given)], dtype=np.int64)[learned])
        targets.append(np.array(row.ids[1:], dtype=np.int64)[learned])
        weights.append(given[learned].astype(np.float32))
    return Pack(
        ids=torch.from_numpy(np.array(tree.ids, dtype=np.int64)[None]),
        positions=torch.from_numpy(np.array(tree.positions, dtype=np.int64)[None]),
        lengths=tree.lengths,
        parents=tree.parents,
        at=torch.from_numpy(np.concatenate(at)),
        targets=torch.from_numpy(np.concatenate(targets)),
        weights=torch.from_numpy(np.concatenate(weights)),
        counts=tuple(len(one) for one in at),
    )


def plan(  # noqa: PLR0913 - what decides the order
    lengths: Sequence[int],
    *,
    epochs: float,
    batch_tokens: int,
    pack_tokens: int,
    packing: bool,
    seed: int,
    shared: Prefixes | None = None,
) -> list[StepRows]:
    """Return every optimizer step of a run, in order.

    Each epoch is shuffled by (seed, epoch). A step takes examples until it has ``batch_tokens`` tokens; within it,
    they are packed into passes of ``pack_tokens`` at most (a longer one goes alone): by first fit, longest first, or,
    given what they have in common (``shared``), so that the fewest tokens are computed. In that case small families
    of examples that share much, a document under several questions say, come into the step of their first one.
    """
    count = max(1, round(sum(lengths) / batch_tokens))  # steps in an epoch
    together = prefixes.families(shared, steps=count, tokens=batch_tokens // 2) if shared and packing else []
    steps: list[StepRows] = []
    for epoch in range(math.ceil(epochs)):
        order = np.random.default_rng([seed, epoch]).permutation(len(lengths)).tolist()
        batches = _fill(_gathered(order, together), lengths, count)
        share = min(1.0, epochs - epoch)
        steps += [
            StepRows(epoch, passes(batch, lengths, pack_tokens if packing else 0, shared))
            for batch in batches[: max(1, round(share * len(batches)))]
        ]
    return steps


def _gathered(order: Sequence[int], families: Sequence[Sequence[int]]) -> list[int]:
    """Return the order with each family where its first member stands."""
    of = {member: number for number, family in enumerate(families) for member in family}
    if not of:
        return list(order)
    members: dict[int, list[int]] = {}
    for index in order:
        if index in of:
            members.setdefault(of[index], []).append(index)
    gathered: list[int] = []
    for index in order:
        gathered += members.pop(of[index], []) if index in of else [index]
    return gathered


def _fill(order: Sequence[int], lengths: Sequence[int], count: int) -> list[list[int]]:
    """Cut the order into ``count`` shares of about equally many tokens, so that no step is a small left-over."""
    total = sum(lengths[index] for index in order)
    batches: list[list[int]] = [[] for _ in range(count)]
    seen = 0
    for index in order:
        batches[min(count - 1, int((seen + lengths[index] / 2) * count / total))].append(index)
        seen += lengths[index]
    return [batch for batch in batches if batch]


def passes(
    batch: Sequence[int], lengths: Sequence[int], budget: int, shared: Prefixes | None = None
) -> tuple[tuple[int, ...], ...]:
    """Cut a step's examples into passes of ``budget`` tokens at most; 0: each goes alone."""
    if shared and budget:
        return tuple(tuple(one) for one in shared.cut(batch, budget))
    bins = prefixes.first_fit([lengths[index] for index in batch], budget)
    return tuple(tuple(batch[place] for place in one) for one in bins)
