"""The held-out loss during a run: how well the model still predicts ideal responses, whatever it is trained for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from honed.models.chat import Encoded
from honed.train.objectives.sft import Sft

_TOGETHER = 8
"""Rows in one forward pass."""


@dataclass(frozen=True)
class HeldOut:
    """Rows that aren't trained on. ``packed`` says that they may share a pass (``likelihood.packing_is_exact``)."""

    rows: Sequence[Encoded]
    sft: Sft
    packed: bool
    device: str

    @torch.no_grad()
    def loss(self, model: PreTrainedModel) -> float | None:
        """Nats a supervised token, each counting once: one sum over one weight, so batches play no part. None: no rows.

        Leaves the model in eval mode.
        """
        if not self.rows:
            return None
        model.eval()
        rows = [row.unweighted for row in self.rows]
        total = weight = 0.0
        size = _TOGETHER if self.packed else 1
        for start in range(0, len(rows), size):
            pack = self.sft.collate(rows[start : start + size]).to(self.device)
            total += float(self.sft.loss(model, pack))
            weight += pack.weight
        return total / weight
