"""Pairs and rated answers of very unequal length, and every objective's formula as its paper writes it, slowly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from honed.models.chat import Encoded
from honed.train import adapters, ratings
from honed.train.head import MATRIX, Head
from honed.train.lora import LoraLinear
from honed.train.lora_config import LoraConfig
from honed.train.objectives.kinds import KINDS, PreferenceConfig
from honed.train.objectives.table import OBJECTIVES
from honed.train.pairs import Pair
from honed.train.ratings import Rated
from tests.numerics.rows import uneven

GIVEN: dict[str, dict[str, Any]] = {
    "dpo": {"beta": 0.3},
    "ipo": {"beta": 0.3, "dpo_loss": "ipo"},
    "kto": {"beta": 0.3, "desirable": 1.5, "undesirable": 0.5},
    "orpo": {"beta": 0.4},
    "simpo": {"beta": 2.5, "gamma": 0.7},
}
"""Settings that no default equals."""

Logps = Callable[[Encoded], Tensor]


def made(
    name: str,
    *,
    head: Head = MATRIX,
    packed: bool = True,
    share: bool = True,
    within: int | None = None,
    **given: Any,
) -> Any:
    """The objective that training would make of these settings."""
    kind = "dpo" if name == "ipo" else name
    config = PreferenceConfig(**{**GIVEN[name], **given})
    assert KINDS[kind].unread(config) == []
    return OBJECTIVES[kind].make(KINDS[kind].settings(config), head, packed, share, within)


def answered(count: int, seed: int = 0) -> list[Pair]:
    """Pairs whose answers differ in length by more than ten to one, each with a made-up reference."""
    some = []
    for number, row in enumerate(uneven(count, seed)):
        start = next(place for place, weight in enumerate(row.weights) if weight)
        other = uneven(count, seed + 1)[number]
        tail = [(i, w) for i, w in zip(other.ids, other.weights, strict=True) if w]
        ids, weights = row.ids[:start] + tuple(i for i, _ in tail), (0.0,) * start + tuple(w for _, w in tail)
        some.append(Pair(row, Encoded(ids, weights), (-7.0 * row.supervised, -6.5 * len(tail))))
    return some


def rated(count: int, seed: int = 0) -> list[Rated]:
    """The sides of pairs, good and bad in turn, each with another's answer and made-up references."""
    pairs = answered(count, seed)[: (count + 1) // 2]
    sides = [Rated(row, good) for pair in pairs for row, good in zip(pair.rows, (True, False), strict=True)]
    return [
        replace(one, reference=tuple(-(6.875 + 0.25 * one.good) * row.supervised for row in one.referred))
        for one in ratings.matched(sides[:count], 10_000)
    ]


def examples(name: str, count: int) -> list[Any]:
    """What the objective learns from."""
    return rated(count) if name == "kto" else answered(count)


def gradients(model: PreTrainedModel, some: Sequence[Any], packs: Sequence[Sequence[int]], objective: Any) -> Any:
    """Gradients of one optimizer step over ``packs`` of indices, and its loss, normalised as the loop does it."""
    model.zero_grad()
    batches = objective.ready(model, [objective.collate([some[i] for i in pack]) for pack in packs])
    weight = sum(batch.weight for batch in batches)
    total = 0.0
    for batch in batches:
        loss = objective.sums(model, batch)["loss"] / weight
        loss.backward()
        total += loss.item()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}, total


def slow_gradients(model: PreTrainedModel, some: Sequence[Any], name: str) -> Any:
    """The same from all logits of each row alone, by transformers' own attention, and the paper's formula."""
    model.zero_grad()
    model.set_attn_implementation("sdpa")

    def logp(row: Encoded) -> Tensor:
        logits = model(torch.tensor([row.ids])).logits[0]
        each = logits[:-1].log_softmax(-1).gather(1, torch.tensor(row.ids[1:])[:, None])[:, 0]
        return each[torch.tensor(row.weights[1:]) > 0].sum()

    loss = FORMULAS[name](some, logp, **GIVEN[name]) / len(some)
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}, loss.item()


def _dpo(some: Sequence[Pair], logp: Logps, beta: float) -> Any:
    total: Any = 0.0
    for pair in some:
        chosen, rejected = (logp(row) - known for row, known in zip(pair.rows, pair.reference, strict=True))
        total = total - torch.log(torch.sigmoid(beta * chosen - beta * rejected))
    return total


def _ipo(some: Sequence[Pair], logp: Logps, beta: float, dpo_loss: str) -> Any:
    total: Any = 0.0
    for pair in some:
        chosen, rejected = (
            (logp(row) - known) / row.supervised for row, known in zip(pair.rows, pair.reference, strict=True)
        )
        total = total + (chosen - rejected - 1 / (2 * beta)) ** 2
    return total


def _orpo(some: Sequence[Pair], logp: Logps, beta: float) -> Any:
    total: Any = 0.0
    for pair in some:
        chosen, rejected = (torch.exp(logp(row) / row.supervised) for row in pair.rows)
        ratio = (chosen / (1 - chosen)) / (rejected / (1 - rejected))
        total = total - torch.log(chosen) - beta * torch.log(torch.sigmoid(torch.log(ratio)))
    return total


def _simpo(some: Sequence[Pair], logp: Logps, beta: float, gamma: float) -> Any:
    total: Any = 0.0
    for pair in some:
        chosen, rejected = (beta / row.supervised * logp(row) for row in pair.rows)
        total = total - torch.log(torch.sigmoid(chosen - rejected - gamma))
    return total


def _kto(some: Sequence[Rated], logp: Logps, beta: float, desirable: float, undesirable: float) -> Any:
    gains = [logp(one.unrelated).item() - one.reference[1] for one in some if one.unrelated]
    level = max(0.0, sum(gains) / len(gains))
    assert level > 0
    total: Any = 0.0
    for one in some:
        gain = logp(one.row) - one.reference[0]
        if one.good:
            total = total + desirable - desirable * torch.sigmoid(beta * (gain - level))
        else:
            total = total + undesirable - undesirable * torch.sigmoid(beta * (level - gain))
    return total


FORMULAS: dict[str, Callable[..., Any]] = {"dpo": _dpo, "ipo": _ipo, "kto": _kto, "orpo": _orpo, "simpo": _simpo}


def adapted(model: PreTrainedModel) -> PreTrainedModel:
    """Adapters of which neither half is zero, so that all have a gradient."""
    adapters.add(model, LoraConfig(rank=4, alpha=8.0), seed=0)
    for module in model.modules():
        if isinstance(module, LoraLinear):
            torch.nn.init.normal_(module.lora_B, std=0.02)
    return model
