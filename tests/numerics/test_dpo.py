"""Traps 1, 13, 17, 21, 22 for preferences: the reference is the base model, packing and accumulation change nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel

from honed.models.chat import Encoded, Unusable
from honed.records import Message, Preference
from honed.train import adapters, attention, batches, likelihood, pairs, token_loss
from honed.train.adapters import Adapters
from honed.train.config import TrainConfig
from honed.train.lora import LoraLinear
from honed.train.objectives.dpo import Dpo
from honed.train.objectives.table import OBJECTIVES
from honed.train.optim import Optimizer, learning_rate
from honed.train.pairs import Pair
from honed.train.reference import Reference
from tests.numerics.rows import chat, close, packed_model, uneven

DPO = Dpo(beta=0.3, fused=True, packed=True)
APART = replace(DPO, packed=False)


def answered(count: int, seed: int = 0) -> list[Pair]:
    """Pairs whose answers differ in length by more than ten to one, each with a made-up reference."""
    made = []
    for number, row in enumerate(uneven(count, seed)):
        start = next(place for place, weight in enumerate(row.weights) if weight)
        other = uneven(count, seed + 1)[number]
        tail = [(i, w) for i, w in zip(other.ids, other.weights, strict=True) if w]
        ids, weights = row.ids[:start] + tuple(i for i, _ in tail), (0.0,) * start + tuple(w for _, w in tail)
        made.append(Pair(row, Encoded(ids, weights), (-7.0 * row.supervised, -6.5 * len(tail))))
    return made


def referred(model: PreTrainedModel, made: Sequence[Pair], objective: Dpo = DPO) -> list[Pair]:
    """The pairs with ``model``'s own log-likelihoods as reference, computed in one pass."""
    with torch.no_grad():
        table = objective.log_likelihoods(model, objective.collate(made)).tolist()
    return [replace(pair, reference=tuple(row)) for pair, row in zip(made, table, strict=True)]


def gradients(
    model: PreTrainedModel, made: Sequence[Pair], packs: Sequence[Sequence[int]], objective: Dpo = DPO
) -> dict[str, Tensor]:
    """Gradients of one optimizer step over ``packs`` of pair indices, normalised as the loop does it."""
    model.zero_grad()
    collated = [objective.collate([made[i] for i in pack]) for pack in packs]
    weight = sum(batch.weight for batch in collated)
    for batch in collated:
        (objective.sums(model, batch)["loss"] / weight).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def plain_loss(model: PreTrainedModel, pair: Pair, beta: float) -> Tensor:
    """Equation 7 of the paper as it stands there, from all logits of each row alone."""
    logps = []
    for row in pair.rows:
        logits = model(torch.tensor([row.ids]), segments=attention.Segments((len(row.ids),))).logits[0]
        each = logits[:-1].log_softmax(-1).gather(1, torch.tensor(row.ids[1:])[:, None])[:, 0]
        logps.append((each * torch.tensor(row.weights[1:]).to(each)).sum())
    ratios = [logp - reference for logp, reference in zip(logps, pair.reference, strict=True)]
    return -torch.log(torch.sigmoid(beta * ratios[0] - beta * ratios[1]))


def adapted(model: PreTrainedModel) -> PreTrainedModel:
    """Adapters of which neither half is zero, so that all have a gradient."""
    adapters.add(model, Adapters(rank=4, alpha=8.0), seed=0)
    for module in model.modules():
        if isinstance(module, LoraLinear):
            torch.nn.init.normal_(module.lora_B, std=0.02)
    return model


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_gradients_of_token_logps_are_exact_for_any_upstream(
    chunk: int, frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_loss, "CHUNK_BYTES", chunk * 4 * 13)
    torch.manual_seed(0)
    hidden = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    head = torch.randn(13, 5, dtype=torch.float64, requires_grad=not frozen)
    targets = torch.randint(13, (7,))
    assert torch.autograd.gradcheck(lambda h, w: token_loss.token_logps(h, w, targets), (hidden, head))


@pytest.mark.parametrize("frozen", [True, False])
def test_gradients_of_token_logps_equal_those_of_log_softmax(frozen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_loss, "CHUNK_BYTES", 3 * 4 * 50)
    torch.manual_seed(0)
    hidden, head = torch.randn(11, 8, requires_grad=True), torch.randn(50, 8, requires_grad=not frozen)
    targets, upstream = torch.randint(50, (11,)), torch.randn(11)
    logps = token_loss.token_logps(hidden, head, targets)
    plain = (hidden @ head.T).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(logps, plain)
    inputs = [hidden] if frozen else [hidden, head]
    ours = torch.autograd.grad((logps * upstream).sum(), inputs)
    for one, other in zip(ours, torch.autograd.grad((plain * upstream).sum(), inputs), strict=True):
        torch.testing.assert_close(one, other)


class _Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation makes."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.numel = max(self.numel, made.numel())
        return made


@pytest.mark.parametrize("frozen", [True, False])
def test_all_logits_never_exist_at_once(frozen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    places, width, vocabulary = 200, 4, 300
    monkeypatch.setattr(token_loss, "CHUNK_BYTES", 10 * 4 * vocabulary)
    hidden, head = torch.randn(places, width, requires_grad=True), torch.randn(vocabulary, width)
    head.requires_grad_(not frozen)
    with _Largest() as largest:
        token_loss.token_logps(hidden, head, torch.randint(vocabulary, (places,))).square().sum().backward()
    assert largest.numel <= 10 * vocabulary


@pytest.mark.parametrize("weights", ["full", "lora"])
def test_loss_and_gradients_are_those_of_the_papers_equation(weights: str) -> None:
    model, made = packed_model(), answered(5)
    if weights == "lora":
        adapted(model)
    ours = gradients(model, made, [[0, 1, 2], [3, 4]])
    model.zero_grad()
    losses = [plain_loss(model, pair, DPO.beta) for pair in made]
    (sum(losses) / len(made)).backward()
    close(ours, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    with torch.no_grad():
        torch.testing.assert_close(DPO.sums(model, DPO.collate(made))["loss"], sum(losses), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("weights", ["full", "lora"])
def test_at_step_0_the_loss_is_ln_2_and_every_margin_is_0(dtype: torch.dtype, weights: str) -> None:
    model = packed_model().to(dtype)
    made = referred(model, answered(6))
    if weights == "lora":  # as they start, with B = 0: the reference was computed without them
        adapters.add(model, Adapters(rank=4, alpha=8.0, dropout=0.1), seed=0)
    model.train()
    batch = DPO.collate(made)
    assert torch.equal(DPO.margins(model, batch), torch.zeros(6))
    sums = {name: value.item() / 6 for name, value in DPO.sums(model, batch).items()}
    assert sums == {"loss": pytest.approx(math.log(2), rel=1e-6), "margin": 0.0, "accuracy": 0.5}


def test_loss_of_a_pack_is_the_sum_of_the_losses_of_its_pairs_and_so_are_the_gradients() -> None:
    model, made = packed_model(), answered(7)
    with torch.no_grad():
        together = DPO.sums(model, DPO.collate(made))
        alone = [DPO.sums(model, DPO.collate([pair])) for pair in made]
    for name, value in together.items():
        torch.testing.assert_close(value, sum(one[name] for one in alone), rtol=1e-5, atol=1e-4)
    close(gradients(model, made, [range(7)]), gradients(model, made, [[i] for i in range(7)]))


def test_a_packed_pair_equals_one_whose_rows_go_through_the_model_apart() -> None:
    model, made = packed_model(), answered(4)
    with torch.no_grad():
        both = [one.margins(model, one.collate(made)) for one in (DPO, APART)]
    torch.testing.assert_close(*both, rtol=1e-4, atol=1e-4)
    assert [len(one.collate(made).packs) for one in (DPO, APART)] == [1, 8]
    close(gradients(model, made, [range(4)]), gradients(model, made, [range(4)], APART))


def test_pairs_count_the_same_however_long_they_are_and_however_they_are_packed() -> None:
    model, made = packed_model(), answered(8)
    close(gradients(model, made, [range(8)]), gradients(model, made, [[0, 1, 2], [3], [4, 5, 6, 7]]))


def test_likelihoods_through_the_models_own_head_equal_the_fused_ones() -> None:
    model, made = packed_model(), answered(4)
    own = replace(DPO, fused=False)
    torch.testing.assert_close(
        own.margins(model, own.collate(made)), DPO.margins(model, DPO.collate(made)), rtol=1e-4, atol=1e-4
    )
    close(gradients(model, made, [range(4)], own), gradients(model, made, [range(4)]))


def test_only_the_answers_tokens_count() -> None:
    model, row = packed_model(), uneven(1)[0]
    start = next(place for place, weight in enumerate(row.weights) if weight)
    with torch.no_grad():
        logits = model(torch.tensor([row.ids]), segments=attention.Segments((len(row.ids),))).logits[0].log_softmax(-1)
        (ours,) = likelihood.row_logps(model, batches.collate([row]), fused=True)
    want = sum(float(logits[place - 1, row.ids[place]]) for place in range(start, len(row.ids)) if row.weights[place])
    assert float(ours) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("weights", ["full", "lora"])
def test_every_trainable_tensor_changes_after_step_1_at_the_smallest_rate(dtype: torch.dtype, weights: str) -> None:
    model = (adapted(packed_model()) if weights == "lora" else packed_model()).to(dtype)
    made = referred(model, answered(4))
    optimizer = Optimizer([(n, p) for n, p in model.named_parameters() if p.requires_grad], weight_decay=0.0)
    before = [master.detach().clone() for master in optimizer.masters]
    batch = DPO.collate(made)
    (DPO.sums(model, batch)["loss"] / batch.weight).backward()
    optimizer.accumulate()
    optimizer.step(learning_rate(0, 1000, peak=1e-5, warmup=0.1, schedule="cosine"), 1.0)
    for name, old, master in zip(optimizer.names, before, optimizer.masters, strict=True):
        assert not torch.equal(old, master), name


def test_the_key_of_references_covers_what_they_depend_on() -> None:
    made, passes = answered(4), [[0, 1], [2, 3]]
    one = Reference("base", "fp32", "cpu", packed=True, shared=True, fused=True)
    changed = [
        {"base": "other"},
        {"precision": "bf16"},
        {"device": "cuda"},
        {"packed": False},
        {"shared": False},
        {"fused": False},
    ]
    other = made[0].chosen
    rows = [
        Encoded((*other.ids[:-1], 3), other.weights),
        Encoded(other.ids, tuple(2 * weight for weight in other.weights)),
    ]
    keys = [
        one.key(made, passes),
        one.key(made, [[0, 1, 2], [3]]),  # another seed, another order
        one.key(made[:3], [[0, 1], [2]]),
        *(replace(one, **change).key(made, passes) for change in changed),
        *(one.key([replace(made[0], chosen=row), *made[1:]], passes) for row in rows),
    ]
    assert len(set(keys)) == len(keys)
    assert one.key(answered(4), passes) == keys[0]


def preference(chosen: str, rejected: str) -> Preference:
    turns = [("user", "q1"), ("assistant", "a1"), ("user", "q2")]
    return Preference(prompt=tuple(Message(role=r, content=c) for r, c in turns), chosen=chosen, rejected=rejected)


def test_only_the_last_answer_of_a_pair_is_supervised() -> None:
    format_ = chat()
    pair = pairs.encode(preference("good", "bad"), format_, 500)
    texts = [
        format_.decode([i for i, w in zip(row.ids, row.weights, strict=True) if w], special=True) for row in pair.rows
    ]
    assert texts == ["good<|im_end|>", "bad<|im_end|>"]


@pytest.mark.parametrize(
    ("chosen", "rejected", "kind", "words"),
    [
        ("same", "same", "same", "neither can be preferred"),
        ("x" * 300, "short", "too long", "the chosen answer: "),
        ("short", "x" * 300, "too long", "the rejected answer: "),
    ],
)
def test_a_pair_that_can_not_be_used_says_why(chosen: str, rejected: str, kind: str, words: str) -> None:
    with pytest.raises(Unusable, match=words) as caught:
        pairs.encode(preference(chosen, rejected), chat(), 200)
    assert caught.value.kind == kind


def test_every_objective_that_can_be_set_is_in_the_table() -> None:
    assert set(OBJECTIVES) == set(get_args(TrainConfig.model_fields["objective"].annotation))
