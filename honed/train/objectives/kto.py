"""Kahneman-Tversky optimisation: good answers gain likelihood, bad ones lose it, measured from a moving point.

Ethayarajh et al. 2024, "KTO: Model Alignment as Prospect Theoretic Optimization", section 4.1. The point is how far
the model has moved from the base whatever is asked: the mean log-ratio of answers to other prompts than their own, at
least 0, without a gradient. The paper takes it over a microbatch and pairs each prompt with the next one's answer;
here it is taken over the whole optimizer step (all passes, all ranks), so that it doesn't depend on how a step is cut,
and the answers come from the dataset at large (``ratings.matched``), so that the base's likelihoods can be kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, distributed
from transformers import PreTrainedModel

from honed.train import answers
from honed.train.answers import AnswerPack
from honed.train.batches import Pack
from honed.train.deal import Turn, Turns
from honed.train.head import Head
from honed.train.objectives.preference import Judged
from honed.train.ratings import Rated


@dataclass(frozen=True)
class RatedPack:
    """N answers (``answers`` is N x 1), which of them are ``good`` (N,), and M of their prompts with others' answers.

    ``unrelated`` is M x 1, None without any. ``level`` is the point that gains are measured from, in nats.
    """

    answers: AnswerPack
    good: Tensor
    unrelated: AnswerPack | None
    level: float = 0.0

    @property
    def weight(self) -> float:
        """N."""
        return self.answers.weight

    @property
    def packs(self) -> tuple[Pack, ...]:
        """The answers': others' have no gradient."""
        return self.answers.packs

    @property
    def tokens(self) -> int:
        """Tokens that are computed, with a gradient or without."""
        return self.answers.tokens + (self.unrelated.tokens if self.unrelated else 0)

    def to(self, device: str) -> RatedPack:
        """Return the answers on ``device``."""
        unrelated = self.unrelated and self.unrelated.to(device)
        return RatedPack(self.answers.to(device), self.good.to(device), unrelated, self.level)


@dataclass(frozen=True)
class Kto:
    """Rated answers in; what each lacks of its full value out.

    ``beta`` scales gains: the larger, the sooner a gain has its full value. ``desirable`` and ``undesirable`` weigh
    good and bad answers; ``head``, ``packed``, ``share`` and ``within`` are as in ``PairObjective``.
    """

    beta: float
    desirable: float
    undesirable: float
    head: Head
    packed: bool
    share: bool = True
    within: int | None = None

    def collate(self, examples: Sequence[Rated]) -> RatedPack:
        """Lay the answers' rows into one pack, and those with others' answers in a pack of their own."""
        crossed = [((one.unrelated,), one.reference[1:]) for one in examples if one.unrelated is not None]
        rows, reference = [one.rows for one in examples], [one.reference[:1] for one in examples]
        lay = partial(answers.collate, packed=self.packed, share=self.share, within=self.within)
        return RatedPack(
            lay(rows, reference),
            torch.tensor([one.good for one in examples]),
            lay(*zip(*crossed, strict=True)) if crossed else None,
        )

    @torch.no_grad()
    def ready(
        self,
        model: PreTrainedModel,
        batches: Sequence[RatedPack],
        _weight: float | None = None,
        turns: Turns | None = None,
    ) -> Sequence[RatedPack]:
        """Return a step's batches with the level of them all. Dropout and noise are off while it is measured."""
        training = model.training
        model.eval()
        passes = [batch.unrelated for batch in batches if batch.unrelated is not None]
        mine = turns([one.tokens for one in passes]) if turns else [Turn(index) for index in range(len(passes))]
        total, count = torch.zeros((), device=model.device), 0
        for turn in mine:
            gain = self._gained(model, passes[turn.index].to(str(model.device)))
            if turn.counts:
                total, count = total + gain.sum(), count + len(gain)
        model.train(training)
        level = max(_mean(total, count), 0.0)  # in this order: the other one makes 0 of a level that is no number
        return [replace(batch, level=level) for batch in batches]

    def judged(self, model: PreTrainedModel, batch: RatedPack) -> Judged:
        """Return each answer's loss, weight x (1 - value), and the margin by which it is on its right side."""
        sign = torch.where(batch.good, 1.0, -1.0)
        weight = torch.where(batch.good, self.desirable, self.undesirable)
        margins = self.beta * (self._gained(model, batch.answers)[:, 0] - batch.level) * sign
        return Judged(weight * torch.sigmoid(-margins), margins, {"kl": torch.full_like(margins, batch.level)})

    def sums(self, model: PreTrainedModel, batch: RatedPack) -> dict[str, Tensor]:
        """Return the sums that ``Judged`` names; ``kl`` is the level."""
        return self.judged(model, batch).sums()

    def _gained(self, model: PreTrainedModel, batch: AnswerPack) -> Tensor:
        return answers.log_likelihoods(model, batch, self.head) - batch.reference


def _mean(total: Tensor, count: int) -> float:
    """The mean over all ranks; 0 of none."""
    both = torch.stack([total, total.new_tensor(float(count))])
    if distributed.is_initialized():
        distributed.all_reduce(both)
    return float(both[0] / both[1].clamp(min=1))
