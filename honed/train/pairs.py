"""Two answers to one prompt, of which one was preferred: what objectives that learn from comparisons share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from honed.models.chat import ChatFormat, Encoded, Unusable
from honed.records import Preference
from honed.store import datasets
from honed.store.artifacts import Artifact
from honed.train import batches, likelihood
from honed.train.batches import Pack
from honed.train.rows import Rows, collect, encode_row


@dataclass(frozen=True)
class Pair:
    """The prompt with the chosen and with the rejected answer; only the answers are supervised.

    ``reference`` holds the log-likelihoods (nats) that the base model gives them, once they are known.
    """

    chosen: Encoded
    rejected: Encoded
    reference: tuple[float, float] = (math.nan, math.nan)

    @property
    def rows(self) -> tuple[Encoded, Encoded]:
        """Chosen, rejected."""
        return self.chosen, self.rejected


@dataclass(frozen=True)
class PairPack:
    """N pairs, their 2 N rows in the order chosen, rejected, chosen ...: in one pack, or each row in its own.

    ``reference`` is N x 2, chosen and rejected.
    """

    packs: tuple[Pack, ...]
    reference: Tensor

    @property
    def weight(self) -> float:
        """What the pairs weigh in their step's mean: one each, however long they are."""
        return float(len(self.reference))

    @property
    def tokens(self) -> int:
        """Tokens of all rows."""
        return sum(pack.tokens for pack in self.packs)

    def to(self, device: str) -> PairPack:
        """Return the pairs on ``device``."""
        return PairPack(tuple(pack.to(device) for pack in self.packs), self.reference.to(device))


def read(dataset: Artifact, chat: ChatFormat, limit: int, count: int | None) -> Rows[Pair]:
    """Return the first ``count`` preferences of a dataset as ids; unusable ones are set aside, named.

    A pair can't be used if either answer can't be trained on, if either row is longer than ``limit`` tokens, or if
    both answers are the same tokens.
    """
    return collect(datasets.preferences(dataset, count), lambda one: encode(one, chat, limit), "pairs")


def encode(preference: Preference, chat: ChatFormat, limit: int) -> Pair:
    """Return a preference as ids. Raises ``Unusable`` saying which of its answers is at fault."""
    sides: list[Encoded] = []
    for side, answer in (("chosen", preference.chosen), ("rejected", preference.rejected)):
        try:
            sides.append(encode_row(preference.row(answer), chat, limit))
        except Unusable as error:
            raise Unusable(error.kind, f"the {side} answer: {error.message}", error.hint) from error
    chosen, rejected = sides
    if chosen.ids == rejected.ids:
        raise Unusable("same", "both answers are the same, so neither can be preferred")
    return Pair(chosen, rejected)


def collate(pairs: Sequence[Pair], *, packed: bool, share: bool = True) -> PairPack:
    """Lay the rows of all pairs into one pack, prompts once, or each row alone where rows of a pack would mix."""
    rows = [row for pair in pairs for row in pair.rows]
    packs = (batches.collate(rows, share=share),) if packed else tuple(batches.collate([row]) for row in rows)
    return PairPack(packs, torch.tensor([pair.reference for pair in pairs], dtype=torch.float32))


def log_likelihoods(model: PreTrainedModel, batch: PairPack, *, fused: bool) -> Tensor:
    """Return the log-likelihood of every answer given its prompt, in nats: N x 2, chosen and rejected."""
    return torch.cat([likelihood.row_logps(model, pack, fused=fused) for pack in batch.packs]).view(-1, 2)
