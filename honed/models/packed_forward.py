"""A model's forward pass over packed rows: whether a model can do it, and the logits of those tokens that are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from honed.models.columns import same_window
from honed.models.lean import LeanDecoder, Product, lean, worth_copying
from honed.models.load import LoadedModel
from honed.models.positions import apart_beyond
from honed.models.slots import Pass, Run, Slots, attending

_NEAR = 1e-4
"""How far states of the lean decoder may be from the model's own: rounding, in units of a norm's output."""


class PackedForward:
    """The pass of a model that ``packed_forward`` found able. ``rows`` is how many tokens are asked about at once."""

    def __init__(self, model: Any, plain_head: bool, decoder: LeanDecoder | None, rows: int) -> None:
        self._model = model
        self._decoder = decoder
        head = model.get_output_embeddings()
        self._head = Product([head], rows, copy=worth_copying(head.weight.dtype, rows)) if plain_head else None

    def __call__(self, work: Pass, wanted: Sequence[int]) -> Tensor:
        """Return the logits, in float32, of the tokens at the places ``wanted``: wanted x vocabulary."""
        at = torch.tensor(wanted, dtype=torch.long)
        if self._decoder and self._head:
            return self._head(self._decoder(work)[at])
        given = {"input_ids": work.ids, "position_ids": work.positions, "use_cache": False, "slots": work}
        with attending(self._model):
            if not self._head:
                logits: Tensor = self._model(**given, logits_to_keep=at).logits[0]
                return logits.float()
            return self._head(self._model.base_model(**given).last_hidden_state[0, at]).float()


def packed_forward(loaded: LoadedModel, rows: int) -> PackedForward | None:
    """Return the packed pass of a model, or None: it runs on a CPU, if all of its attention is plain and is ours.

    Found out by trying: two tokens go through the model.
    """
    model: Any = loaded.model
    text = model.config.get_text_config()
    plain = model.device.type == "cpu" and model.config._attn_implementation == "sdpa" and same_window(model.config)
    if not plain or apart_beyond(model.config) is not None:
        return None
    work = _trial()
    given = {"input_ids": work.ids, "position_ids": work.positions, "use_cache": False, "slots": work}
    try:
        with torch.inference_mode(), attending(model):
            whole = model(**given).logits
            calls = work.calls
            states = model.base_model(**given).last_hidden_state
    except TypeError:  # its attention isn't told of the slots, or it is no model of text alone
        return None
    if calls != text.num_hidden_layers:
        return None
    head = model.get_output_embeddings()
    with torch.inference_mode():
        same = bool(torch.equal(functional.linear(states, head.weight, head.bias), whole))
    return PackedForward(model, same, _decoder(model, rows, states[0]) if same else None, rows)


def _decoder(model: Any, rows: int, states: Tensor) -> LeanDecoder | None:
    """Return the model's lean decoder if it computes ``states`` of the trial's tokens, up to rounding."""
    with torch.inference_mode():
        found = lean(model, rows)
        same = found and torch.allclose(found(_trial()), states, rtol=_NEAR, atol=_NEAR)
    return found if same else None


def _trial() -> Pass:
    return Pass(Slots(1), [Run(0, 0, (0, 1))])
