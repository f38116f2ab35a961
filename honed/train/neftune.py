"""Noise on the embeddings of training passes, which keeps a model from learning its rows' wording by heart.

Jain et al. 2023, "NEFTune: Noisy Embeddings Improve Instruction Finetuning", algorithm 1: uniform in (-1, 1), scaled by
alpha / sqrt(L d) for a row of L tokens and embeddings of d numbers. The rows of a pack have an L each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from honed.train.attention import Segments


@dataclass
class _Noise:
    """What is added, and the rows of the pass that is being computed."""

    alpha: float
    rows: Segments | None = None

    def enter(self, _decoder: nn.Module, _args: object, options: Mapping[str, Any]) -> None:
        """Learn from a pass of the decoder which rows it has."""
        self.rows = options.get("segments")

    def add(self, embedding: nn.Module, _args: object, embedded: Tensor) -> Tensor:
        """Return the embeddings (1 x T x D) with noise, in training mode; as they are otherwise."""
        if not embedding.training:
            return embedded
        assert self.rows is not None, "training passes are packed"
        assert all(parent < 0 for parent in self.rows.parents), "layout.py shares no prefixes: noise is a row's own"
        noise = torch.empty_like(embedded, dtype=torch.float32).uniform_(-1, 1)
        lengths = torch.tensor(self.rows.lengths, device=embedded.device)
        scale = self.alpha / (lengths * embedded.shape[-1]).sqrt()
        return embedded + (noise * scale.repeat_interleave(lengths)[:, None]).to(embedded.dtype)


def add(model: PreTrainedModel, alpha: float) -> None:
    """Add noise to ``model``'s embeddings from now on, whenever it is in training mode.

    It is drawn from torch's generator of the model's device.
    """
    noise = _Noise(alpha)
    model.base_model.register_forward_pre_hook(noise.enter, with_kwargs=True)
    model.get_input_embeddings().register_forward_hook(noise.add)


def added(model: PreTrainedModel) -> float:
    """Return the alpha of the noise that ``add`` has put there, 0 without any."""
    hooks = model.get_input_embeddings()._forward_hooks.values()
    makers = [getattr(hook, "__self__", None) for hook in hooks]
    return next((one.alpha for one in makers if isinstance(one, _Noise)), 0.0)
