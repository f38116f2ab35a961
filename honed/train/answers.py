"""Answers whose likelihoods an objective compares: their rows in as few passes as may be, and what the base thinks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from honed.models.chat import Encoded
from honed.train import batches, likelihood
from honed.train.batches import Pack
from honed.train.head import Head


@dataclass(frozen=True)
class AnswerPack:
    """N examples of K answers, their N K rows in the order of the examples: in one pack, or each row in its own.

    ``reference`` holds the base model's log-likelihoods (nats), nan where nothing asked for them; ``lengths`` the
    answers' tokens. Both are N x K.
    """

    packs: tuple[Pack, ...]
    reference: Tensor
    lengths: Tensor

    @property
    def weight(self) -> float:
        """What the examples weigh in their step's mean: one each, however long they are."""
        return float(len(self.reference))

    @property
    def tokens(self) -> int:
        """Tokens that are computed: those of a shared prefix once."""
        return sum(pack.tokens for pack in self.packs)

    def to(self, device: str) -> AnswerPack:
        """Return the answers on ``device``."""
        packs = tuple(pack.to(device) for pack in self.packs)
        return AnswerPack(packs, self.reference.to(device), self.lengths.to(device))


def collate(
    examples: Sequence[Sequence[Encoded]],
    reference: Sequence[Sequence[float]],
    *,
    packed: bool,
    share: bool = True,
    within: int | None = None,
) -> AnswerPack:
    """Lay the rows of all examples into one pack, or each into its own where rows of a pack would mix.

    So they would also where a row has more than ``within`` tokens (``positions.apart_beyond``).
    """
    rows = [row for example in examples for row in example]
    packed = packed and (within is None or all(len(row.ids) <= within for row in rows))
    packs = (batches.collate(rows, share=share),) if packed else tuple(batches.collate([row]) for row in rows)
    lengths = [[row.supervised for row in example] for example in examples]
    return AnswerPack(packs, torch.tensor(reference, dtype=torch.float32), torch.tensor(lengths, dtype=torch.float32))


def log_likelihoods(model: PreTrainedModel, batch: AnswerPack, head: Head) -> Tensor:
    """Return the log-likelihood of every answer given its prompt, in nats, N x K."""
    logps = torch.cat([likelihood.row_logps(model, pack, head) for pack in batch.packs])
    return logps.view(batch.reference.shape)
