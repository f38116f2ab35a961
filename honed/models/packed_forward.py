"""A model's forward pass over packed rows: whether a model can do it, and the logits of those tokens that are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from honed.models.columns import same_window
from honed.models.load import LoadedModel
from honed.models.slots import Pass, Run, Slots, attending

_ROWS_DEPEND = frozenset({"dynamic", "longrope"})
"""Kinds of position embeddings that are other ones for a row when a longer one is in the same pass."""

_MANY = 8
"""Rows from which laying out the head's weights anew is worth their copy."""


class PackedForward:
    """The pass of a model that ``packed_forward`` found able. ``rows`` is how many tokens are asked about at once."""

    def __init__(self, model: Any, plain_head: bool, rows: int) -> None:
        self._model = model
        self._plain = plain_head
        self._laid_out = _laid_out(model.get_output_embeddings().weight, rows) if plain_head else None

    def __call__(self, work: Pass, wanted: Sequence[int]) -> Tensor:
        """Return the logits, in float32, of the tokens at the places ``wanted``: wanted x vocabulary."""
        at = torch.tensor(wanted, dtype=torch.long)
        given = {"input_ids": work.ids, "position_ids": work.positions, "use_cache": False, "slots": work}
        with attending(self._model):
            if not self._plain:
                logits: Tensor = self._model(**given, logits_to_keep=at).logits[0]
                return logits.float()
            states = self._model.base_model(**given).last_hidden_state[0, at]
        head = self._model.get_output_embeddings()
        if self._laid_out is not None and len(at):
            laid_out: Tensor = torch.ops.mkldnn._linear_pointwise(states, self._laid_out, head.bias, "none", [], "")
            return laid_out
        return functional.linear(states, head.weight, head.bias).float()


def packed_forward(loaded: LoadedModel, rows: int) -> PackedForward | None:
    """Return the packed pass of a model, or None: it runs on a CPU, if all of its attention is plain and is ours.

    Found out by trying: two tokens go through the model.
    """
    model: Any = loaded.model
    text = model.config.get_text_config()
    plain = model.device.type == "cpu" and model.config._attn_implementation == "sdpa" and same_window(model.config)
    rope = (getattr(text, "rope_parameters", None) or {}).get("rope_type")
    if not plain or rope in _ROWS_DEPEND:
        return None
    work = Pass(Slots(1), [Run(0, 0, (0, 0))])
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
    return PackedForward(model, same, rows)


def _laid_out(weight: Tensor, rows: int) -> Tensor | None:
    """Return the head's weights as oneDNN wants them, twice as fast for a few dozen rows and a large vocabulary.

    It is a copy of the head; None where there is nothing to gain.
    """
    if rows < _MANY or weight.dtype != torch.float32 or not torch.backends.mkldnn.is_available():
        return None
    with torch.inference_mode():
        found: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), rows)
    return found
