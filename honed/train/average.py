"""The mean of the weights over a run, late steps weighing most: it lacks the noise that the last step's weights have.

A learning rate that falls to nothing takes that noise out too, and learns less with every step on its way. Shamir &
Zhang 2013, "Stochastic Gradient Descent for Non-smooth Optimization: Convergence Results and Optimal Averaging Schemes"
(polynomial-decay averaging): the weights after step n count about n ** ``POWER``, so that the first ones are soon
forgotten and nothing has to be known of how long the run will be.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from honed.train import heap

POWER = 3
"""Weights count by this power of their step: half of the sum is that of the last sixth of the steps."""


class Average:
    """The mean of fp32 weights after each of ``steps`` steps, kept beside them: 4 more bytes for each."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self._weights = weights
        self.steps = 0
        self.means = [heap.lasting(weight).copy_(weight.detach()) for weight in weights]

    @torch.no_grad()
    def take_in(self) -> None:
        """Let the weights after one more step into the mean; those before the first aren't in it."""
        self.steps += 1
        for mean, weight in zip(self.means, self._weights, strict=True):
            mean.lerp_(weight, (1 + POWER) / (self.steps + POWER))

    @torch.no_grad()
    def swap(self) -> None:
        """Put the means where the weights are, and the weights where the means were."""
        for weight, mean in zip(self._weights, self.means, strict=True):
            kept = weight.detach().clone()
            weight.copy_(mean)
            mean.copy_(kept)
