"""How many rows a running batch may have: those asked for, unless their keys and values need too much memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from honed.models import columns, devices, heads
from honed.models.load import LoadedModel
from honed.models.row import Row

_SHARE = 0.5
"""Part of the memory that is free when a batch begins which keys and values may take."""


def rows_that_fit(loaded: LoadedModel, rows: Sequence[Row], most: int) -> int:
    """Return how many of ``rows`` are to be computed together: ``most``, or as many as half of the free memory holds.

    Each is reckoned as long as the longest may become. One always fits: it is for the model to fail if it doesn't.
    Raises as ``columns.keeping`` does.
    """
    config = loaded.model.config
    kept = map(heads.heads, heads.layers(config.get_text_config())[: columns.keeping(config)])
    longest = max(len(row.ids) + row.limit for row in rows)
    each = 2 * sum(one.keys * one.width for one in kept) * loaded.model.dtype.itemsize * longest
    fit: int = int(_SHARE * _free(loaded.model.device)) // each
    return max(1, min(most, len(rows), fit))


def _free(device: Any) -> int:
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, for what comes next
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return devices.hardware(Path.cwd()).memory_free  # a container's limit counts
