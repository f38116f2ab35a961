"""How likely a model finds packed rows, computed at their supervised positions only; every objective is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from honed.errors import ModelError
from honed.train.attention import Segments
from honed.train.batches import Pack
from honed.train.head import Head, inputs
from honed.train.loss_sweeps import chunk_size
from honed.train.token_loss import token_logps, weighted_nll

_MOVED = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1e-2}
"""By how much of its length a token's hidden state changes that isn't only rounded otherwise."""

_FEW = 0.2
"""The part of the tokens that may change by chance."""


def nll(model: PreTrainedModel, pack: Pack, head: Head) -> Tensor:
    """Return the weighted sum of negative log-likelihoods in nats, a scalar."""
    if head.fused:
        known = None if pack.step_weight is None else 1 / pack.step_weight
        hidden = _hidden(model, pack, head.factor)
        return weighted_nll(hidden, _matrix(model), pack.targets, pack.weights, known, head.cap, compiled=head.compiled)
    total = torch.zeros((), device=pack.ids.device)
    for part, losses in _nll_by_model(model, pack, head):
        total = total + (losses * pack.weights[part]).sum()
    return total


def row_logps(model: PreTrainedModel, pack: Pack, head: Head) -> Tensor:
    """Return each row's log-likelihood in nats, weighted by token: as many as the pack has rows."""
    if head.fused:
        hidden = _hidden(model, pack, head.factor)
        logps = token_logps(hidden, _matrix(model), pack.targets, head.cap, compiled=head.compiled)
    else:
        logps = -torch.cat([losses for _, losses in _nll_by_model(model, pack, head)])
    # Sums over slices are the same in every run; index_add on a GPU is not.
    return torch.stack([part.sum() for part in (logps * pack.weights).split(pack.counts)])


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
    given = inputs(pack)
    with torch.no_grad():
        before = model.base_model(**given).last_hidden_state[0].float()
        after = model.base_model(**inputs(other)).last_hidden_state[0].float()
    moved = (after - before).norm(dim=1) > _MOVED[model.dtype] * before.norm(dim=1)
    if _most(moved[: changed.start]):
        raise ModelError(
            f"in training, tokens of this model ({model.config.model_type}) would see those that they are to predict",
            "Choose another base model.",
        )
    segments = given["segments"]
    assert isinstance(segments, Segments)
    every = segments.calls == model.config.get_text_config().num_hidden_layers
    return every and not _most(moved[length:])


def _most(moved: Tensor) -> bool:
    return bool(len(moved)) and float(moved.float().mean()) > _FEW


def _hidden(model: PreTrainedModel, pack: Pack, factor: float = 1.0) -> Tensor:
    """The decoder's last hidden states at supervised positions, P x D, by the number that logits are multiplied by."""
    hidden = _at(model.base_model(**inputs(pack)).last_hidden_state[0], pack.at)
    return hidden if factor == 1.0 else hidden * factor


def _at(states: Tensor, places: Tensor) -> Tensor:
    """Rows of ``states``, some several times: the end of a prompt that rows share predicts how each answer begins.

    Their gradients are added up in the same order in every run. On a CPU those of an index aren't, in fp32 and with
    several threads; on a GPU those of ``index_select`` aren't.
    """
    return states.index_select(0, places) if states.device.type == "cpu" else states[places]


def _matrix(model: PreTrainedModel) -> Tensor:
    weight: Tensor = model.get_output_embeddings().weight
    return weight


def _nll_by_model(model: PreTrainedModel, pack: Pack, head: Head) -> Iterator[tuple[slice, Tensor]]:
    """Each chunk of positions with its losses, through the model's own head.

    Where the head's module gives the logits, they are made a chunk at a time, and again in the backward pass. Where
    only the model does, all of them are kept for it (P x V, in the model's precision), and nothing in fp32.
    """
    alone = head.way == "module"
    places = torch.arange(len(pack.at), device=pack.at.device)
    if alone:
        states = _hidden(model, pack)
    else:
        once, places = pack.at.unique(return_inverse=True)  # the model takes them by an index: none twice (``_at``)
        states = model(**inputs(pack), logits_to_keep=once).logits[0]
    # What is made of logits lies beside them: what bends them or widens them, their log-softmax, and its gradient.
    size = max(1, chunk_size(model.config.get_text_config().vocab_size) // 3)

    def losses(some: Tensor, targets: Tensor) -> Tensor:
        logits = head.bent(model.get_output_embeddings()(some)) if alone else some.float()
        return torch.nn.functional.cross_entropy(logits, targets, reduction="none")

    for start in range(0, len(pack.at), size):
        part = slice(start, start + size)
        yield part, checkpoint(losses, _at(states, places[part]), pack.targets[part], use_reentrant=False)
