"""The FLOP that training needs by arithmetic, whatever a program really does.

A product of (n x k) and (k x m) counts 2nkm. A decoder weight counts at every token that goes through the model, a
head weight at supervised tokens only, and attention at every pair of a token and a token that it may see (itself
included): 4 FLOP per layer and unit of the heads' joint width. Backward counts twice the forward pass; under LoRA
the frozen matrices count once (no gradient of their own is needed) and the adapters 6 FLOP a weight and token.
Norms, the embedding's look-up, the optimizer and whatever is computed a second time count nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

FORMULA = (
    "forward = 2 (decoder weights x tokens + head weights x supervised tokens) + 4 layers x heads' width x pairs, "
    "pairs = sum over rows of L (L + 1) / 2; full: 3 x forward; LoRA: 4 (decoder x tokens + head x supervised) + "
    "12 layers x width x pairs + 6 adapter weights x tokens; DPO: one forward more, for the reference"
)


@dataclass(frozen=True)
class Shape:
    """A Llama-shaped decoder: each layer's matrices as (outputs, inputs), their number, and the sizes around them."""

    matrices: tuple[tuple[int, int], ...]
    layers: int
    width: int
    hidden: int
    vocabulary: int

    @property
    def decoder(self) -> int:
        """Weights of the decoder's matrices."""
        return self.layers * sum(out * into for out, into in self.matrices)

    @property
    def head(self) -> int:
        """Weights of the head."""
        return self.hidden * self.vocabulary

    def adapters(self, rank: int) -> int:
        """Weights of LoRA adapters of ``rank`` on every matrix of the decoder."""
        return self.layers * sum(rank * (out + into) for out, into in self.matrices)


def shape_of(folder: Path) -> Shape:
    """Read the shape out of a model folder's ``config.json`` (Llama's names, which Qwen and Mistral share)."""
    config = json.loads((folder / "config.json").read_text())
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    each = config.get("head_dim") or hidden // heads
    width, grouped = heads * each, (config.get("num_key_value_heads") or heads) * each
    matrices = ((width, hidden), (grouped, hidden), (grouped, hidden), (hidden, width))
    mlp = ((inner, hidden), (inner, hidden), (hidden, inner))
    return Shape((*matrices, *mlp), config["num_hidden_layers"], width, hidden, config["vocab_size"])


@dataclass(frozen=True)
class Work:
    """What goes through a model once: tokens, those with a loss, and pairs of a token and a token that it sees."""

    tokens: int
    supervised: int
    pairs: int


def work_of(rows: Sequence[tuple[int, int]]) -> Work:
    """Rows given as (tokens, supervised tokens), nothing shared between them."""
    return Work(
        tokens=sum(length for length, _ in rows),
        supervised=sum(supervised for _, supervised in rows),
        pairs=sum(length * (length + 1) // 2 for length, _ in rows),
    )


def shared(work: Work, computed: int, ids: Sequence[Sequence[int]]) -> Work:
    """The same rows when only ``computed`` tokens went through the model, since rows had beginnings in common.

    Which tokens were spared isn't known here. Each is taken to see as many tokens as one does on average in the
    beginning that a row shares with its nearest row; with one system prompt for all, that is exact but for its last
    tokens.
    """
    spared = work.tokens - computed
    common = _common(ids)
    if not spared or not sum(common):
        return Work(computed, work.supervised, work.pairs)
    seen = sum(n * (n + 1) / 2 for n in common) / sum(common)
    return Work(computed, work.supervised, max(computed, round(work.pairs - spared * seen)))


def _common(ids: Sequence[Sequence[int]]) -> list[int]:
    """How long each row's longest beginning is that any other row has too: in sorted order, a neighbour has it."""
    ordered = sorted(map(tuple, ids))
    between = [_same(left, right) for left, right in pairwise(ordered)]
    return [max(pair) for pair in zip([0, *between], [*between, 0], strict=True)]


def _same(left: Sequence[int], right: Sequence[int]) -> int:
    return next((n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))


def forward(shape: Shape, work: Work) -> float:
    """FLOP of a forward pass."""
    return _linear(shape, work) + _attention(shape, work)


def training(shape: Shape, work: Work, *, rank: int | None = None, reference: bool = False) -> float:
    """FLOP of forward and backward; ``rank`` is LoRA's, None for full weights; ``reference`` adds a forward pass."""
    extra = forward(shape, work) if reference else 0.0
    if rank is None:
        return extra + 3 * forward(shape, work)
    return extra + 2 * _linear(shape, work) + 3 * _attention(shape, work) + 6.0 * shape.adapters(rank) * work.tokens


def _linear(shape: Shape, work: Work) -> float:
    return 2.0 * (shape.decoder * work.tokens + shape.head * work.supervised)


def _attention(shape: Shape, work: Work) -> float:
    return 4.0 * shape.layers * shape.width * work.pairs
