"""Odds ratio preference optimisation: the chosen answer is learned, and its odds raised above the rejected one's.

Hong et al. 2024, "ORPO: Monolithic Preference Optimization without Reference Model", equations 6 and 7. As in their
equation 1, an answer's likelihood is that of a token of it, the geometric mean; only answers are learned, not prompts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from honed.train.objectives.preference import Judged

_SURE = -1e-7
"""The log-likelihood per token above which an answer counts as certain: its odds would be infinite."""


@dataclass(frozen=True)
class Orpo:
    """``beta`` is the weight of the odds ratio beside the likelihood of the chosen answer; lambda in the paper."""

    beta: float

    def __call__(self, policy: Tensor, _reference: Tensor, lengths: Tensor) -> Judged:
        """Return the chosen answer's nats per token plus beta times the negative log-sigmoid of the log odds ratio.

        The margin is the log odds ratio; ``chosen_nll`` is the first term.
        """
        each = (policy / lengths).clamp(max=_SURE)
        odds = each - torch.log(-torch.expm1(each))
        margins = odds[:, 0] - odds[:, 1]
        learned = -policy[:, 0] / lengths[:, 0]
        return Judged(learned - self.beta * logsigmoid(margins), margins, {"chosen_nll": learned})
