"""What the objectives that learn from pairs share: all but one function, from log-likelihoods to losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor
from transformers import PreTrainedModel

from honed.train import answers
from honed.train.answers import AnswerPack
from honed.train.deal import Turns
from honed.train.head import Head
from honed.train.pairs import Pair

_TIE = 1e-4
"""Margins nearer to 0 are rounding: before the first step the model is the base, and prefers neither answer."""


@dataclass(frozen=True)
class Judged:
    """What a loss says of N examples: ``losses``, and by how much each is on the right side, ``margins``; both (N,).

    ``also`` names further numbers that are worth seeing, each (N,).
    """

    losses: Tensor
    margins: Tensor
    also: Mapping[str, Tensor] = field(default_factory=dict)

    def sums(self) -> dict[str, Tensor]:
        """Return the loss, the margin, how many are right (a tie counts half) and what else there is, as sums."""
        seen = self.margins.detach()
        right = (seen > _TIE).float() + 0.5 * (seen.abs() <= _TIE).float()
        also = {name: value.detach().sum() for name, value in self.also.items()}
        return {"loss": self.losses.sum(), "margin": seen.sum(), "accuracy": right.sum(), **also}


class PairLoss(Protocol):
    """What makes an objective of pairs itself."""

    def __call__(self, policy: Tensor, reference: Tensor, lengths: Tensor, /) -> Judged:
        """Judge N pairs by the log-likelihoods that model and base give their answers, and the answers' tokens.

        All are N x 2, chosen and rejected; ``reference`` is nan where the objective has none (``table.Entry``).
        """
        ...


@dataclass(frozen=True)
class PairObjective:
    """Pairs in; the sums of ``loss`` over them out.

    ``packed`` says that the rows of a pass may share a pack, those of up to ``within`` tokens if that isn't None;
    ``head`` and ``share`` say what they say in ``Sft``.
    """

    loss: PairLoss
    head: Head
    packed: bool
    share: bool = True
    within: int | None = None

    def collate(self, examples: Sequence[Pair]) -> AnswerPack:
        """Lay the pairs' rows into one pack, or each into its own."""
        rows, reference = [pair.rows for pair in examples], [pair.reference for pair in examples]
        return answers.collate(rows, reference, packed=self.packed, share=self.share, within=self.within)

    def ready(
        self,
        _model: PreTrainedModel,
        batches: Sequence[AnswerPack],
        _weight: float | None = None,
        _turns: Turns | None = None,
    ) -> Sequence[AnswerPack]:
        """Return the batches as they are: a pair's loss depends on no other's."""
        return batches

    def judged(self, model: PreTrainedModel, batch: AnswerPack) -> Judged:
        """Return what the loss says of each pair."""
        policy = answers.log_likelihoods(model, batch, self.head)
        return self.loss(policy, batch.reference, batch.lengths)

    def sums(self, model: PreTrainedModel, batch: AnswerPack) -> dict[str, Tensor]:
        """Return the sums that ``Judged`` names."""
        return self.judged(model, batch).sums()
