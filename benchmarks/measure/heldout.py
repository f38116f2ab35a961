"""The loss on rows that aren't trained on, one function for every program: it needs nothing but torch and a model.

Each row goes through the model alone, so that padding, packing and masks can't make a difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch


@torch.no_grad()
def heldout_loss(model: Any, rows: Sequence[Mapping[str, Sequence[float]]]) -> float:
    """Return nats per supervised token: one sum over all rows' supervised tokens, each counting once.

    A row has ``ids`` and ``weights``; token j is supervised if ``weights[j]`` is above 0. The model is in eval mode.
    """
    total, count = 0.0, 0
    for row in rows:
        ids = torch.tensor([row["ids"]], device=model.device, dtype=torch.long)
        places = [place for place, weight in enumerate(row["weights"]) if weight > 0]
        logits = model(input_ids=ids, use_cache=False).logits[0, [place - 1 for place in places]]
        nats = torch.nn.functional.cross_entropy(logits.float(), ids[0, places], reduction="sum")
        total, count = total + float(nats), count + len(places)
    return total / count
