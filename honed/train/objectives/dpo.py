"""Direct preference optimisation: chosen answers gain more likelihood than rejected ones, measured from the base model.

``sigmoid``: Rafailov et al. 2023, "Direct Preference Optimization: Your Language Model is Secretly a Reward Model",
equation 7. ``ipo``: Azar et al. 2023, "A General Theoretical Paradigm to Understand Learning from Human Preferences",
equation 17, with log-likelihoods per token. The paper writes those of whole answers, whose size grows with length so
that no single target fits all pairs; the form per token is TRL's, which says that the paper's authors used it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from honed.train.objectives.preference import Judged


@dataclass(frozen=True)
class Dpo:
    """``beta`` scales rewards: the larger, the closer to the base model.

    An answer's reward is beta times the log-likelihood that it gained over the base model (per token under ``ipo``).
    """

    beta: float
    dpo_loss: Literal["sigmoid", "ipo"]

    def __call__(self, policy: Tensor, reference: Tensor, lengths: Tensor) -> Judged:
        """Return the negative log-probability that the rewards give to the preferences as they were made.

        Under ``ipo``: the squared distance of each pair's gain from 1 / (2 beta).
        """
        gained = policy - reference
        if self.dpo_loss == "ipo":
            gained = gained / lengths
        ahead = gained[:, 0] - gained[:, 1]
        margins = self.beta * ahead
        losses = (ahead - 1 / (2 * self.beta)).square() if self.dpo_loss == "ipo" else -logsigmoid(margins)
        return Judged(losses, margins)
