"""The held-out loss during a run: how well the model still predicts ideal responses, whatever it is trained for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from honed.models.chat import Encoded
from honed.train.objectives.sft import Sft
from honed.train.placement import Placement
from honed.train.prefixes import first_fit


@dataclass(frozen=True)
class HeldOut:
    """Rows that aren't trained on. ``packed`` says that they may share a pass (``likelihood.packing_is_exact``).

    A pass has ``pack_tokens`` tokens at most; a longer row goes alone.
    """

    rows: Sequence[Encoded]
    sft: Sft
    packed: bool
    device: str
    pack_tokens: int

    @torch.no_grad()
    def loss(self, placed: Placement) -> float | None:
        """Nats a supervised token, each counting once: one sum over one weight, so batches and ranks play no part.

        None: no rows. Leaves the model in eval mode.
        """
        if not self.rows:
            return None
        placed.model.eval()
        rows = [each.unweighted for row in self.rows for each in row.rows]
        passes = first_fit([len(row.ids) for row in rows], self.pack_tokens if self.packed else 0)
        together = [[rows[place] for place in one] for one in passes]
        sums = {"loss": 0.0, "weight": 0.0}
        for turn in placed.turns([sum(len(row.ids) for row in some) for some in together]):
            pack = self.sft.collate(together[turn.index]).to(self.device)
            loss = placed.run(self.sft.loss, pack)
            if turn.counts:
                sums["loss"] += float(loss)
                sums["weight"] += pack.weight
        total = placed.ranks.total(sums)
        return total["loss"] / total["weight"]
