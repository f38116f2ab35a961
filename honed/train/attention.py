"""Attention over packed rows: every row attends to itself only, and no T x T mask is ever built.

transformers lets an attention function be registered by name; the model's code stays as it is. The lengths of
the rows travel as a keyword argument of the forward pass, and the function counts its calls, so that a model
whose layers don't come here (and would mix neighbouring rows) is found before training, not after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from honed.errors import ModelError

NAME = "honed_packed"


@dataclass
class Segments:
    """Lengths of the rows in a packed sequence, and how often attention has been computed over them."""

    lengths: tuple[int, ...]
    calls: int = 0


def register() -> None:
    """Make ``honed_packed`` known to transformers; done again, it changes nothing."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, _no_mask)


def packed_attention(
    _module: nn.Module, query: Tensor, key: Tensor, value: Tensor, _mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Causal attention within each row. Shapes: query 1 x H x T x D, key and value 1 x K x T x D (K divides H).

    Returns 1 x T x H x D. Scaling comes from the model; heads share keys and values in groups of H / K.
    """
    segments: Segments = options["segments"]
    segments.calls += 1
    window = options.get("sliding_window")
    assert window is None or max(segments.lengths) <= window, "rows longer than the window: prepare.py leaves them out"
    if options.get("softcap") or options.get("s_aux") is not None:
        raise ModelError(
            "this model's attention caps its scores or has sinks, which packed training doesn't compute",
            "Choose a model with plain softmax attention.",
        )
    scale, dropout = options.get("scaling"), options.get("dropout", 0.0)
    grouped = key.shape[1] != query.shape[1]
    parts = [
        functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scale, dropout_p=dropout, enable_gqa=grouped
        )
        for q, k, v in zip(
            query.split(segments.lengths, 2),
            key.split(segments.lengths, 2),
            value.split(segments.lengths, 2),
            strict=True,
        )
    ]
    return torch.cat(parts, 2).transpose(1, 2), None


def _no_mask(*_: Any, **__: Any) -> None:
    return None
