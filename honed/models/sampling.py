"""Choosing a token from logits: greedily, or at random from a stream of numbers that belongs to the row alone."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from honed.models.engine import Sampling
from honed.records import digest

_HEAD = 256
"""Tokens sorted first for nucleus sampling; the whole vocabulary is only sorted if they hold too little."""


_COLDEST = 1e-4
"""Below it a temperature is 0: the likeliest token wins anyway, and a division by less would not stay finite."""


class Chooser:
    """Draws a row's tokens. Its random numbers follow from the seed and the prompt, whatever else is in the batch."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int]) -> None:
        self._sampling = sampling
        self._random = random.Random(digest([sampling.seed, list(prompt)]))

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always the one."""
        return self._sampling.temperature < _COLDEST

    def choose(self, logits: torch.Tensor, greedy: int) -> int:
        """Return a token of ``logits`` (vocabulary, float32): ``greedy`` at temperature 0, else a random one."""
        if self.greedy:
            return greedy
        odds = torch.softmax(logits / self._sampling.temperature, dim=-1)
        if self._sampling.top_p < 1:
            odds, ids = nucleus(odds, self._sampling.top_p)
            return int(ids[self._draw(odds)])
        return self._draw(odds)

    def _draw(self, odds: torch.Tensor) -> int:
        if odds.device.type == "mps":  # Apple's GPUs have no float64
            odds = odds.cpu()
        reached = odds.double().cumsum(-1)
        place = torch.searchsorted(reached, self._random.random() * float(reached[-1]), right=True)
        return min(int(place), len(odds) - 1)


def nucleus(odds: torch.Tensor, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the fewest tokens, likeliest first, whose probabilities reach ``top_p``, and their ids.

    Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020.
    """
    head, ids = odds.topk(min(_HEAD, len(odds)))
    if float(head.sum()) < top_p:
        head, ids = odds.sort(descending=True)
    kept = max(1, int((head.cumsum(-1) - head < top_p).sum()))
    return head[:kept], ids[:kept]
