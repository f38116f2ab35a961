"""Rows of very unequal length, and small shorthands, for the numerics tests."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from transformers import PreTrainedModel

from honed.models.chat import ChatFormat, Encoded, from_tokenizer
from honed.records import Conversation, Message
from honed.train import attention, attention_native, batches
from honed.train.head import MATRIX
from honed.train.objectives.sft import Sft
from tests.tiny import tiny_model, tiny_tokenizer


@cache
def chat() -> ChatFormat:
    return from_tokenizer(tiny_tokenizer())


def conversation(*texts: str, system: str | None = None) -> Conversation:
    """User and assistant turns in turn."""
    turns = [Message(role="system", content=system)] if system else []
    turns += [Message(role=("user", "assistant")[i % 2], content=text) for i, text in enumerate(texts)]
    return Conversation(messages=tuple(turns))


def uneven(count: int, seed: int = 0) -> list[Encoded]:
    """Rows whose supervised lengths differ by more than ten to one."""
    return list(_uneven(count, seed))


@cache
def _uneven(count: int, seed: int) -> tuple[Encoded, ...]:
    rng = random.Random(seed)
    word = lambda n: "".join(rng.choice("abcdefgh ") for _ in range(n))  # noqa: E731
    rows = [conversation(word(rng.randint(3, 20)), word(rng.choice([1, 2, 5, 40]))) for _ in range(count)]
    return tuple(chat().encode(row) for row in rows)


def skewed() -> list[Encoded]:
    """Rows of one length in pairs: long prompts with answers of a letter, and short prompts with long answers."""
    return list(_skewed())


@cache
def _skewed() -> tuple[Encoded, ...]:
    word = lambda n, seed: "".join(random.Random(seed).choices("abcdefgh ", k=n))  # noqa: E731
    shapes = [(12, 1)] * 6 + [(1, 182)]  # the six together are as long as the seventh
    shapes += [shape for size in (40, 30, 20, 10) for shape in ((size, 1), (1, size))] + [(5, 1)]
    return tuple(
        chat().encode(conversation(word(asked, number), word(said, -number)))
        for number, (asked, said) in enumerate(shapes, 1)
    )


def packed_model(seed: int = 0, *, path: str = attention.FUSED, hidden: int = 32) -> PreTrainedModel:
    """The tiny model with our attention; at a ``hidden`` width of 64 its heads are wide enough for the kernel in C."""
    attention.register()
    attention.register({attention_native.NATIVE: attention_native.by_native})
    model = tiny_model(seed, hidden=hidden)
    model.set_attn_implementation(path)
    return model


def gradients(model: PreTrainedModel, rows: Sequence[Encoded], packs: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Gradients of one optimizer step over ``packs`` of row indices, normalised as the loop does it."""
    model.zero_grad()
    objective = Sft(MATRIX)
    made = [objective.collate([rows[i] for i in pack]) for pack in packs]
    weight = sum(float(pack.weights.sum()) for pack in made)
    for pack in made:
        (objective.loss(model, pack) / weight).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def reference_loss(model: PreTrainedModel, row: Encoded) -> Tensor:
    """A row's summed loss the plain way: the model's own logits, all of them, and torch's cross entropy."""
    pack = batches.collate([row])
    logits = model(pack.ids, segments=attention.Segments(pack.lengths)).logits[0].float()
    labels = torch.tensor(row.ids[1:])
    weights = torch.tensor(row.weights[1:])
    return (torch.nn.functional.cross_entropy(logits[:-1], labels, reduction="none") * weights).sum()


def close(one: dict[str, Tensor], other: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    """Assert that two sets of gradients agree to a relative tolerance."""
    assert one.keys() == other.keys()
    for name, left in one.items():
        gap = float((left - other[name]).norm() / (left.norm() + 1e-12))
        assert gap < tolerance, f"{name}: {gap:.1e}"
