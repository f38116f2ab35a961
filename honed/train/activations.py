"""What a pass keeps for its backward pass: by token, as a small one shows, and what attention keeps of scores beside.

Kernels keep no scores. Plain torch does (``attention.by_parts``, and a model's own attention): one for each two tokens
of a row and head, so that a long row keeps far more by token than a short one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, UntypedStorage, nn
from transformers import AttentionInterface, PreTrainedModel

from honed.train import attention, own_attention
from honed.train.attention import Manner, Segments
from honed.train.attention_cuda import kernel_takes
from honed.train.batches import Pack
from honed.train.kernels.install import checkpoints_layers, last_layer_kept
from honed.train.loop import Batch
from honed.train.optim import local
from honed.train.prepare import Prepared
from honed.train.setup import Setup

_WATCHED = "honed_watched"
"""The name of the path that notes what layers give their attention."""

_PROBE = 16
"""Tokens of a pass that shows what layers do; of the rows that show how a model's own attention grows, one, two, three
times as many."""


@dataclass(frozen=True)
class Kept:
    """Bytes that a pass keeps: ``token`` for each one computed, and ``scores(batch)``, 0 where there are kernels."""

    token: float
    scores: Callable[[Batch], int]

    def of(self, batch: Batch) -> float:
        """Return the bytes of a pass."""
        return self.token * batch.tokens + self.scores(batch)


def find(run: Prepared, ready: Setup, small: Batch) -> Kept:
    """Return what passes keep, from a small one and from what layers give their attention.

    Where layers are computed again, one of them stands beside what goes into all.
    """
    run.base.model.train()
    each = ready.placed.run(lambda model, _: _scores(model), None)

    def scores(batch: Batch) -> int:
        return sum(each(pack) for pack in batch.packs)

    return Kept((saved(run, ready, small) - scores(small)) / small.tokens, scores)


def saved(run: Prepared, ready: Setup, batch: Batch) -> int:
    """Return the bytes that a pass keeps: each storage counts once, the weights' not at all."""
    weights = {local(p).untyped_storage()._cdata for p in run.base.model.parameters()}
    head = run.base.model.get_output_embeddings()
    shape = head.weight.shape if head is not None else None  # its gradient stands with the logits
    run.base.model.train()
    with last_layer_kept(run.base.model), _counted(weights, shape) as kept:
        sums = ready.placed.run(ready.objective.sums, batch.to(run.settings.device))
    total = sum(storage.nbytes() for storage in kept.values())
    del sums
    with torch.no_grad():  # no backward pass follows, behind which shares are shares again: those are to be trained
        ready.placed.run(lambda *_: None, None)
    return total


@contextmanager
def _counted(without: set[int], shape: torch.Size | None = None) -> Iterator[dict[int, UntypedStorage]]:
    """What is kept meanwhile for a backward pass, but storages ``without`` and tensors of one shape.

    The storages themselves, so that none is freed and its place counted for another.
    """
    kept: dict[int, UntypedStorage] = {}

    def keep(tensor: Tensor) -> None:
        """Nothing is given back to the graph, which asks for it in a backward pass only.

        Given the tensor itself, a node that saves its own result would hold what holds it, until the process ends.
        """
        storage = local(tensor).untyped_storage()
        if storage._cdata not in without and tensor.shape != shape:
            kept[storage._cdata] = storage

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda nothing: nothing):
        yield kept


def _scores(model: PreTrainedModel) -> Callable[[Pack], int]:
    """How many bytes a model's layers keep of a pack's scores: all of them, or one where they are computed again."""
    path = model.config._attn_implementation
    if not attention.ours(path):
        each = _by_own(model)
        return lambda pack: round(each * sum(length * length for length in pack.lengths))
    layers = _watched(model)
    over = max if checkpoints_layers(model) else sum

    def scores(pack: Pack) -> int:
        return over([layer.kept(path, Segments(pack.lengths, pack.parents)) for layer in layers] or [0])

    return scores


def _by_own(model: PreTrainedModel) -> float:
    """Bytes that a model's own attention keeps for each two tokens of a row.

    By rows of one, two and three lengths: what grows with their tokens, or doesn't grow, has no second difference.
    """
    sizes = []
    for length in (_PROBE, 2 * _PROBE, 3 * _PROBE):
        with last_layer_kept(model), _counted(set()) as kept:
            states = own_attention.states(model, Segments((length,)))
        sizes.append(sum(storage.nbytes() for storage in kept.values()))
        del states
    return max(0.0, (sizes[0] - 2 * sizes[1] + sizes[2]) / (2 * _PROBE**2))


@dataclass(frozen=True)
class _Layer:
    """What a layer gives its attention: heads and widths of query, key and value, their type, and all else."""

    module: nn.Module
    heads: Sequence[tuple[int, int]]
    dtype: torch.dtype
    given: Mapping[str, Any]

    def kept(self, path: str, segments: Segments) -> int:
        """Return the bytes of scores, found on a device without memory: shapes are all that is computed there."""
        tokens = sum(segments.lengths)
        q, k, v = (
            torch.empty(1, heads, tokens, width, dtype=self.dtype, device="meta", requires_grad=True)
            for heads, width in self.heads
        )
        given: dict[str, Any] = {
            name: one.to("meta") if isinstance(one, Tensor) else one for name, one in self.given.items()
        }
        with _counted({tensor.untyped_storage()._cdata for tensor in (q, k, v)}) as kept:
            out = attention.packed_attention(
                self.module, q, k, v, None, path=partial(_as, path), segments=segments, **given
            )
        total = sum(storage.nbytes() for storage in kept.values())
        del out
        return total


def _as(name: str, q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float, manner: Manner) -> Tensor:  # noqa: PLR0913 - a path, by name
    """What a path keeps beside query, key and value: nothing where it has a kernel, which they are said to be."""
    if kernel_takes(name, manner, as_wide=v.shape[3] == k.shape[3]):
        return q
    return attention.by_parts(q, k, v, segments, scale, manner)


def _watched(model: PreTrainedModel) -> list[_Layer]:
    """What each layer gives its attention in training."""
    path, segments = model.config._attn_implementation, Segments((_PROBE,))
    AttentionInterface.register(_WATCHED, _watch)
    model.set_attn_implementation(_WATCHED)
    with torch.no_grad():
        own_attention.states(model, segments)
    model.set_attn_implementation(path)
    layers: list[_Layer] = segments.made.get(_WATCHED, [])
    return layers


def _watch(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    segments: Segments,
    **given: Any,
) -> tuple[Tensor, None]:
    heads = [(one.shape[1], one.shape[3]) for one in (query, key, value)]
    segments.made.setdefault(_WATCHED, []).append(_Layer(module, heads, query.dtype, given))
    path = attention.by_parts
    return attention.packed_attention(module, query, key, value, mask, path=path, segments=segments, **given)
