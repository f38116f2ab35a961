"""Simple preference optimisation: chosen answers become likelier per token than rejected ones, by a margin; no base.

Meng et al. 2024, "SimPO: Simple Preference Optimization with a Reference-Free Reward", equation 6.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import logsigmoid

from honed.train.objectives.preference import Judged


@dataclass(frozen=True)
class Simpo:
    """An answer's reward is ``beta`` times its log-likelihood per token; ``gamma`` is the margin that is asked for."""

    beta: float
    gamma: float

    def __call__(self, policy: Tensor, _reference: Tensor, lengths: Tensor) -> Judged:
        """Return the negative log-probability of the preferences when a margin of gamma is worth nothing yet."""
        rewards = self.beta * policy / lengths
        margins = rewards[:, 0] - rewards[:, 1]
        return Judged(-logsigmoid(margins - self.gamma), margins)
