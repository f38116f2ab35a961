"""Trap 17: master weights and the optimizer do what they say, down to the bit where that is promised."""

from __future__ import annotations

import itertools

import pytest
import torch
from transformers import PreTrainedModel

from honed.train import adapters, heap
from honed.train.head import MATRIX
from honed.train.lora import LoraLinear
from honed.train.lora_config import LoraConfig
from honed.train.objectives.sft import Sft
from honed.train.optim import Optimizer, keep_wide, kept_wide, learning_rate
from tests.numerics.adapted import steps
from tests.numerics.rows import packed_model, uneven


def adapted() -> PreTrainedModel:
    model = packed_model()
    adapters.add(model, LoraConfig(rank=4, alpha=8.0), seed=0)
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("weights", ["full", "lora"])
def test_every_trainable_tensor_changes_after_step_1_at_the_smallest_rate_of_the_warm_up(
    dtype: torch.dtype, weights: str
) -> None:
    model = (adapted() if weights == "lora" else packed_model()).to(dtype)
    if weights == "lora":  # B = 0 gives A no gradient at step 1, in the paper too
        for module in model.modules():
            if isinstance(module, LoraLinear):
                torch.nn.init.normal_(module.lora_B, std=0.02)
    optimizer = Optimizer([(n, p) for n, p in model.named_parameters() if p.requires_grad], weight_decay=0.0)
    before = [master.detach().clone() for master in optimizer.masters]
    objective = Sft(MATRIX)
    pack = objective.collate(uneven(4))
    (objective.loss(model, pack) / pack.weights.sum()).backward()
    optimizer.accumulate()
    optimizer.step(learning_rate(0, 1000, peak=1e-5, warmup=0.1, schedule="cosine"), 1.0)
    for name, old, master in zip(optimizer.names, before, optimizer.masters, strict=True):
        assert master.dtype == torch.float32
        assert not torch.equal(old, master), name


def test_masters_of_16_bit_weights_begin_at_the_weights_that_are_stored() -> None:
    stored, model = packed_model(), packed_model().to(torch.bfloat16)
    assert any(not torch.equal(p, p.to(torch.bfloat16).float()) for p in stored.parameters())
    keep_wide(model, stored)
    assert len(kept_wide(model)) == len(list(stored.parameters()))
    optimizer = Optimizer(list(model.named_parameters()), weight_decay=0.0)
    for master, parameter, wide in zip(optimizer.masters, model.parameters(), stored.parameters(), strict=True):
        assert torch.equal(master, wide) and torch.equal(parameter, wide.to(torch.bfloat16))


def test_small_updates_add_up_in_bf16() -> None:
    weight = torch.nn.Parameter(torch.ones(64, dtype=torch.bfloat16))
    optimizer = Optimizer([("w", weight)], weight_decay=0.0)
    for _ in range(200):
        weight.grad = torch.ones_like(weight)
        optimizer.accumulate()
        optimizer.step(1e-4, 1e9)
    assert float(weight.detach()[0]) == pytest.approx(0.98, abs=0.004)  # bf16 alone would still be at exactly 1


def test_gradients_of_several_passes_are_added_in_fp32() -> None:
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.bfloat16))
    optimizer = Optimizer([("w", weight)], weight_decay=0.0)
    for value in [256.0] + [1.0] * 100:  # in bf16, 256 + 1 is 256
        weight.grad = torch.full_like(weight, value)
        optimizer.accumulate()
    assert optimizer.step(1e-3, 1e9) == 356.0


@pytest.mark.parametrize("large", [1, 1 << 15])
def test_state_put_back_goes_on_bit_for_bit(large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "_LARGE", large)  # 1: what lasts has pages of its own, as that of a real model
    straight, stopped = packed_model(), packed_model()
    one, other = steps(straight, 3), steps(stopped, 2)
    resumed = packed_model()
    fresh = Optimizer(list(resumed.named_parameters()), weight_decay=0.0)
    fresh.load_state({name: tensor.clone() for name, tensor in other.state().items()}.__getitem__, 2)
    objective, rows = Sft(MATRIX), uneven(4)
    resumed.train()
    pack = objective.collate(rows)
    (objective.loss(resumed, pack) / pack.weights.sum()).backward()
    fresh.accumulate()
    fresh.step(1e-2, 1.0)
    assert all(torch.equal(fresh.state()[name], tensor) for name, tensor in one.state().items())


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_learning_rate_rises_to_its_peak_and_is_never_zero(schedule: str) -> None:
    rates = [learning_rate(i, 100, peak=1.0, warmup=0.1, schedule=schedule) for i in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert max(rates) <= 1.0 and min(rates) > 0
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
