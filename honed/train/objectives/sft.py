"""Supervised fine-tuning: the log-likelihood of the ideal responses given their prompts.

Ouyang et al. 2022, "Training language models to follow instructions with human feedback", section 3.5 (SFT).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from honed.models.chat import Encoded
from honed.train import batches
from honed.train.attention import Segments
from honed.train.batches import Pack
from honed.train.token_loss import chunk_size, weighted_nll


@dataclass(frozen=True)
class Sft:
    """``collate(rows) -> Pack`` and ``loss(model, pack) -> scalar``: the sum, normalised by the loop.

    ``fused`` says that the head is a plain matrix on the decoder's last hidden states (see ``head_is_plain``).
    """

    fused: bool

    def collate(self, rows: Sequence[Encoded]) -> Pack:
        """Lay rows end to end."""
        return batches.collate(rows)

    def loss(self, model: PreTrainedModel, pack: Pack) -> Tensor:
        """Return the weighted sum of negative log-likelihoods in nats, a scalar."""
        segments = Segments(pack.lengths)
        inputs = {"input_ids": pack.ids, "position_ids": pack.positions, "use_cache": False, "segments": segments}
        if self.fused:
            hidden = model.base_model(**inputs).last_hidden_state[0, pack.at]
            return weighted_nll(hidden, model.get_output_embeddings().weight, pack.targets, pack.weights)
        return self._loss_by_model(model, inputs, pack)

    def _loss_by_model(self, model: PreTrainedModel, inputs: dict[str, object], pack: Pack) -> Tensor:
        """The same through the model's own head, whatever it does to the logits; still at supervised positions only."""
        logits = model(**inputs, logits_to_keep=pack.at).logits[0]
        size = chunk_size(logits.shape[-1])
        total = torch.zeros((), device=logits.device)
        for start in range(0, len(pack.at), size):
            part = slice(start, start + size)
            total = total + checkpoint(_nll, logits[part], pack.targets[part], pack.weights[part], use_reentrant=False)
        return total


def _nll(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    return (torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none") * weights).sum()


def head_is_plain(model: PreTrainedModel, pack: Pack) -> bool:
    """Return whether logits are hidden states times the head's matrix, found out by computing both on one pack."""
    head = model.get_output_embeddings()
    if head is None or getattr(head, "bias", None) is not None:
        return False
    few = pack.at[:4]
    inputs = {"input_ids": pack.ids, "position_ids": pack.positions, "use_cache": False}
    with torch.no_grad():
        ours = model.base_model(**inputs, segments=Segments(pack.lengths)).last_hidden_state[0, few] @ head.weight.T
        theirs = model(**inputs, segments=Segments(pack.lengths), logits_to_keep=few).logits[0]
    return bool(torch.allclose(ours.float(), theirs.float(), rtol=1e-4, atol=1e-4))


def packing_is_exact(model: PreTrainedModel, pack: Pack) -> bool:
    """Return whether every layer of the model mixes tokens through our attention, so that rows stay apart."""
    segments = Segments(pack.lengths)
    with torch.no_grad():
        model.base_model(input_ids=pack.ids, position_ids=pack.positions, use_cache=False, segments=segments)
    return bool(segments.calls == model.config.get_text_config().num_hidden_layers)
