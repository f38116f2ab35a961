"""Supervised fine-tuning: the log-likelihood of the ideal responses given their prompts.

Ouyang et al. 2022, "Training language models to follow instructions with human feedback", section 3.5 (SFT).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor
from transformers import PreTrainedModel

from honed.models.chat import Encoded
from honed.train import batches, likelihood
from honed.train.batches import Pack
from honed.train.deal import Turns
from honed.train.head import Head


@dataclass(frozen=True)
class Sft:
    """Rows in; their summed negative log-likelihood out.

    ``head`` is how the model makes logits; ``share`` says that prefixes that rows of a pass have in common are
    computed once.
    """

    head: Head
    share: bool = True

    def collate(self, rows: Sequence[Encoded]) -> Pack:
        """Lay rows, and those apart from them, into one pack."""
        return batches.collate([each for row in rows for each in row.rows], share=self.share)

    def ready(
        self,
        _model: PreTrainedModel,
        packs: Sequence[Pack],
        weight: float | None = None,
        _turns: Turns | None = None,
    ) -> Sequence[Pack]:
        """Return the packs with the weight of their step: a row's loss depends on no other's."""
        return [replace(pack, step_weight=weight) for pack in packs]

    def loss(self, model: PreTrainedModel, pack: Pack) -> Tensor:
        """Return the weighted sum of negative log-likelihoods in nats, a scalar."""
        return likelihood.nll(model, pack, self.head)

    def sums(self, model: PreTrainedModel, batch: Pack) -> dict[str, Tensor]:
        """Return the loss."""
        return {"loss": self.loss(model, batch)}
