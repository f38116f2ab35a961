"""Whether our attention gives what a model's own does, found out by computing both: else the model keeps its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from honed.errors import first_line
from honed.train.attention import DROPOUT, PARTS, UNKNOWN, WIDTHS, Manner, Segments

OWN = "eager"
"""The name of a model's own attention, in plain torch, as transformers defines it."""

_PROBE = 16
"""Tokens of the pass that is computed both ways."""

_APART = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}
"""How far a hidden state may be off, relative to its length: more than by rounding, less than by other scores."""

_FEW = 0.2
"""The part of the tokens that may be off: those that rounding sends to another expert."""


@dataclass(frozen=True)
class Found:
    """``ours`` says whether our attention stands for the model's; ``windows`` whether layers tell it theirs.

    ``why``: what the model said where it can't be computed with ours at all.
    """

    ours: bool
    windows: bool
    why: str = ""


def compare(model: PreTrainedModel) -> Found:
    """Compute a few tokens both ways. The model has a path of ours set, and keeps it.

    Windows longer than the few tokens show in what layers pass.
    """
    path = model.config._attn_implementation
    asked: dict[nn.Module, dict[str, Any]] = {}
    try:
        ours = hidden(model, asked)
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:  # it looks into the mask, say
        return Found(ours=False, windows=False, why=first_line(error))
    model.set_attn_implementation(OWN)
    theirs = hidden(model, None)
    model.set_attn_implementation(path)
    moved = (ours - theirs).norm(dim=1) > _APART[model.dtype] * theirs.norm(dim=1)
    passed = {name for layer in asked.values() for name in layer}
    same = not passed & set(UNKNOWN) and float(moved.float().mean()) <= _FEW
    return Found(same, "sliding_window" in passed)


def manner(model: PreTrainedModel, longest: int) -> Manner:
    """Return what the layers that do most besides a softmax do, in a pass whose longest row has so many tokens."""
    asked: dict[nn.Module, dict[str, Any]] = {}
    hidden(model, asked)
    found: dict[str, Any] = {}
    for layer in asked.values():
        found |= layer
    return _manner(found, longest)


def by_plain_torch(model: PreTrainedModel, longest: int, takes: Callable[..., bool]) -> tuple[int, int]:
    """Return how many layers no kernel computes the attention of, in training, and how many have any.

    ``takes(manner, as_wide=...)`` says whether there is one (``attention_cuda.kernel_takes``). The tokens that show
    what layers do go through plain torch: a model that is to be sharded is on the host still, where a GPU's paths fail.
    """
    asked: dict[nn.Module, dict[str, Any]] = {}
    path = model.config._attn_implementation
    model.set_attn_implementation(PARTS)
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        hidden(model, asked, training=True)
    model.set_attn_implementation(path)
    taken = [takes(_manner(one, longest), as_wide=WIDTHS not in one) for one in asked.values()]
    return taken.count(False), len(taken)


def _manner(passed: dict[str, Any], longest: int) -> Manner:
    window = passed.get("sliding_window")
    near = window if window and window < longest else None
    return Manner(near, passed.get("softcap"), passed.get("s_aux"), passed.get(DROPOUT, 0.0))


def hidden(model: PreTrainedModel, asked: dict[nn.Module, dict[str, Any]] | None, *, training: bool = False) -> Tensor:
    """Return the last hidden states of a few tokens, T x D in fp32; ``asked`` takes what layers pass our attention."""
    before = model.training
    model.train(training)
    try:
        with torch.no_grad():
            return states(model, Segments((_PROBE,), asked=asked))[0].float()
    finally:
        model.train(before)


def states(model: PreTrainedModel, segments: Segments) -> Tensor:
    """Return the last hidden states of rows of as many tokens as ``segments`` have, whichever these are, 1 x T x D."""
    places = torch.arange(sum(segments.lengths), device=model.device)[None]
    ids = places % model.config.get_text_config().vocab_size
    out = model.base_model(input_ids=ids, position_ids=places, use_cache=False, segments=segments)
    found: Tensor = out.last_hidden_state
    return found
