"""Direct preference optimisation: chosen answers gain more likelihood than rejected ones, measured from the base model.

Rafailov et al. 2023, "Direct Preference Optimization: Your Language Model is Secretly a Reward Model", equation 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import PreTrainedModel

from honed.train import pairs
from honed.train.pairs import Pair, PairPack


@dataclass(frozen=True)
class Dpo:
    """Pairs in; the negative log-probability out that the implied rewards give to the preferences as they were made.

    ``beta`` scales the rewards: the larger, the closer to the base model. ``packed`` says that the rows of a pass may
    share a pack, ``fused`` and ``share`` what they say in ``Sft``.
    """

    beta: float
    fused: bool
    packed: bool
    share: bool = True

    def collate(self, examples: Sequence[Pair]) -> PairPack:
        """Lay the pairs' rows into one pack, or each into its own."""
        return pairs.collate(examples, packed=self.packed, share=self.share)

    def log_likelihoods(self, model: PreTrainedModel, batch: PairPack) -> Tensor:
        """Return the log-likelihood of every answer in nats, N x 2; of the base model's are the references made."""
        return pairs.log_likelihoods(model, batch, fused=self.fused)

    def margins(self, model: PreTrainedModel, batch: PairPack) -> Tensor:
        """Return each pair's reward of the chosen answer less that of the rejected one, shape (N,).

        An answer's reward is beta times the log-likelihood that it gained over the base model.
        """
        gained = self.beta * (self.log_likelihoods(model, batch) - batch.reference)
        return gained[:, 0] - gained[:, 1]

    def sums(self, model: PreTrainedModel, batch: PairPack) -> dict[str, Tensor]:
        """Return the loss, the margins, and how many are right: above 0, a tie counting half. All summed over pairs."""
        margins = self.margins(model, batch)
        seen = margins.detach()
        right = (seen > 0).float() + 0.5 * (seen == 0).float()
        return {"loss": -logsigmoid(margins).sum(), "margin": seen.sum(), "accuracy": right.sum()}
