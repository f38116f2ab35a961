"""How likely a model finds packed rows, computed at their supervised positions only; every objective is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from honed.errors import ModelError
from honed.train.attention import Segments
from honed.train.batches import Pack
from honed.train.token_loss import chunk_size, token_logps, weighted_nll

_MOVED = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1e-2}
"""By how much of its length a token's hidden state changes that isn't only rounded otherwise."""

_FEW = 0.2
"""The part of the tokens that may change by chance."""

_ROUNDED = {torch.float64: 0.0, torch.float32: 0.0, torch.bfloat16: 2**-7, torch.float16: 2**-10}
"""How far a product that is rounded once more may be off."""

_FACTOR, _ALONE = "honed_logits_factor", "honed_head_is_all"


def nll(model: PreTrainedModel, pack: Pack, *, fused: bool) -> Tensor:
    """Return the weighted sum of negative log-likelihoods in nats, a scalar.

    ``fused`` says that the head is a plain matrix on the decoder's last hidden states (see ``head_is_plain``).
    """
    if fused:
        factor = None if pack.step_weight is None else 1 / pack.step_weight
        return weighted_nll(_hidden(model, pack), _head(model), pack.targets, pack.weights, factor)
    total = torch.zeros((), device=pack.ids.device)
    for part, losses in _nll_by_model(model, pack):
        total = total + (losses * pack.weights[part]).sum()
    return total


def row_logps(model: PreTrainedModel, pack: Pack, *, fused: bool) -> Tensor:
    """Return each row's log-likelihood in nats, weighted by token: as many as the pack has rows, ``fused`` as above."""
    if fused:
        logps = token_logps(_hidden(model, pack), _head(model), pack.targets)
    else:
        logps = -torch.cat([losses for _, losses in _nll_by_model(model, pack)])
    # Tokens lie in the order of their rows. Sums over slices are the same in every run; index_add on a GPU is not.
    counts = torch.bincount(pack.row, minlength=pack.rows).tolist()
    return torch.stack([part.sum() for part in (logps * pack.weights).split(counts)])


def head_is_plain(model: PreTrainedModel, pack: Pack) -> bool:
    """Return whether logits are hidden states times the head's matrix, found out by computing both on one pack.

    Some models multiply them by a number (Granite, Cohere): it is found too, and kept for ``nll`` and ``row_logps``.
    """
    head = model.get_output_embeddings()
    if head is None or getattr(head, "bias", None) is not None:
        return False
    if getattr(model.config.get_text_config(), "final_logit_softcapping", None):  # small logits don't show it
        return False
    few = pack.at[:4]
    with torch.no_grad():
        ours = (model.base_model(**_inputs(pack)).last_hidden_state[0, few] @ head.weight.T).float()
        theirs = model(**_inputs(pack), logits_to_keep=few).logits[0].float()
    if torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4):
        return True
    factor = float((ours * theirs).sum() / (ours * ours).sum())
    if not torch.allclose(factor * ours, theirs, rtol=1e-4 + _ROUNDED[model.dtype], atol=1e-4):
        return False
    setattr(model, _FACTOR, factor)
    return True


def packing_is_exact(model: PreTrainedModel, pack: Pack) -> bool:
    """Return whether rows of one pack stay apart: every layer mixes tokens through our attention, and in no other way.

    Found out by changing the second half of the first row: what comes before it must stay as it is, or the model sees
    what it is to predict (``ModelError``); so must the row behind it, which a convolution or a state may carry it into.
    Few tokens may move all the same: those that rounding sends to another expert.
    """
    other = replace(pack, ids=pack.ids.clone())
    length = pack.lengths[0]
    changed = slice(length // 2, length)
    other.ids[0, changed] = (other.ids[0, changed] + 1) % model.config.get_text_config().vocab_size
    inputs = _inputs(pack)
    with torch.no_grad():
        before = model.base_model(**inputs).last_hidden_state[0].float()
        after = model.base_model(**_inputs(other)).last_hidden_state[0].float()
    moved = (after - before).norm(dim=1) > _MOVED[model.dtype] * before.norm(dim=1)
    if _most(moved[: changed.start]):
        raise ModelError(
            f"in training, tokens of this model ({model.config.model_type}) would see those that they are to predict",
            "Choose another base model.",
        )
    segments = inputs["segments"]
    assert isinstance(segments, Segments)
    every = segments.calls == model.config.get_text_config().num_hidden_layers
    return every and not _most(moved[length:])


def _most(moved: Tensor) -> bool:
    return bool(len(moved)) and float(moved.float().mean()) > _FEW


def _inputs(pack: Pack) -> dict[str, object]:
    segments = Segments(pack.lengths, pack.parents)
    return {"input_ids": pack.ids, "position_ids": pack.positions, "use_cache": False, "segments": segments}


def _hidden(model: PreTrainedModel, pack: Pack) -> Tensor:
    """The decoder's last hidden states at supervised positions, P x D, by the number that logits are multiplied by."""
    hidden: Tensor = model.base_model(**_inputs(pack)).last_hidden_state[0, pack.at]
    factor: float | None = getattr(model, _FACTOR, None)
    return hidden if factor is None else hidden * factor


def _head(model: PreTrainedModel) -> Tensor:
    weight: Tensor = model.get_output_embeddings().weight
    return weight


def _nll_by_model(model: PreTrainedModel, pack: Pack) -> Iterator[tuple[slice, Tensor]]:
    """Each chunk of positions with its losses, through the model's own head, whatever it does to the logits.

    Where logits are what the head's module gives (it has a bias), they are made a chunk at a time, and again in the
    backward pass. Else all of them are kept for it (P x V, in the model's precision), and nothing in fp32.
    """
    head = model.get_output_embeddings()
    alone = head is not None and _head_is_all(model, head, pack)
    of = head if alone else None
    inputs = _hidden(model, pack) if alone else model(**_inputs(pack), logits_to_keep=pack.at).logits[0]
    size = chunk_size(model.config.get_text_config().vocab_size)
    for start in range(0, len(pack.at), size):
        part = slice(start, start + size)
        yield part, checkpoint(_nll, of, inputs[part], pack.targets[part], use_reentrant=False)


def _head_is_all(model: PreTrainedModel, head: nn.Module, pack: Pack) -> bool:
    """Whether logits are what the head's module makes of hidden states; found out once by computing both."""
    known: bool | None = getattr(model, _ALONE, None)
    if known is None:
        few, training = pack.at[:4], model.training
        model.eval()
        with torch.no_grad():
            ours = head(model.base_model(**_inputs(pack)).last_hidden_state[0, few]).float()
            theirs = model(**_inputs(pack), logits_to_keep=few).logits[0].float()
        model.train(training)
        capped = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
        known = not capped and torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4)
        setattr(model, _ALONE, known)
    return known


def _nll(head: nn.Module | None, inputs: Tensor, targets: Tensor) -> Tensor:
    logits = inputs if head is None else head(inputs)
    return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")
