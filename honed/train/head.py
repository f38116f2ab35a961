"""How a model makes logits of its decoder's hidden states, found out by computing both on one pack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from honed.train.attention import Segments
from honed.train.batches import Pack

_ROUNDED = {torch.float64: 0.0, torch.float32: 0.0, torch.bfloat16: 2**-7, torch.float16: 2**-10}
"""How far a product that is rounded once more may be off."""


@dataclass(frozen=True)
class Head:
    """What stands between hidden states and logits.

    ``matrix``: logits are hidden states times ``factor`` (Granite, Cohere) times the matrix, then bent to stay within
    ``cap`` (Gemma: cap x tanh(logits / cap)): losses are fused with them. ``module``: what the head's module makes (it
    has a bias), bent likewise. ``model``: only the whole model gives them. ``compiled``: losses by the kernels of
    ``in_triton``.
    """

    way: Literal["matrix", "module", "model"] = "matrix"
    factor: float = 1.0
    cap: float | None = None
    compiled: bool = False

    @property
    def fused(self) -> bool:
        """Whether logits and losses are computed together, so that no logits are kept for the backward pass."""
        return self.way == "matrix"

    def bent(self, logits: Tensor) -> Tensor:
        """Return the logits within the cap, in fp32 at least."""
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return wide if self.cap is None else self.cap * torch.tanh(wide / self.cap)


MATRIX, MODEL = Head(), Head("model")


@torch.no_grad()
def find(model: PreTrainedModel, pack: Pack) -> Head:
    """Return what gives the model's own logits at the first places of ``pack``."""
    module = model.get_output_embeddings()
    if module is None:
        return MODEL
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None) or None  # small logits don't show it
    few, training = pack.at[:4], model.training
    model.eval()
    states = model.base_model(**inputs(pack)).last_hidden_state[0, few]
    made = module(states)
    theirs = model(**inputs(pack), logits_to_keep=few).logits[0].float()
    model.train(training)

    def gives(head: Head, logits: Tensor, off: float) -> bool:
        return torch.allclose(head.bent(logits), theirs, rtol=1e-4 + off, atol=1e-4)

    rounded = _ROUNDED[model.dtype]
    if getattr(module, "bias", None) is None:
        ours = (states @ module.weight.T).float()
        if gives(head := Head(cap=cap), ours, rounded if cap else 0.0):
            return head
        if cap is None:
            head = Head(factor=float((ours * theirs).sum() / (ours * ours).sum()))
            if gives(head, head.factor * ours, rounded):
                return head
    head = Head("module", cap=cap)
    return head if gives(head, made, rounded if cap else 0.0) else MODEL


def inputs(pack: Pack) -> dict[str, object]:
    """Return what a model's forward pass takes of a pack."""
    segments = Segments(pack.lengths, pack.parents)
    return {"input_ids": pack.ids, "position_ids": pack.positions, "use_cache": False, "segments": segments}
