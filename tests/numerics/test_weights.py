"""Traps 16-18, 23: adapters, master weights and seeds do what they say, down to the bit where that is promised."""

from __future__ import annotations

import itertools
from pathlib import Path

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from honed.models import save as saving
from honed.models.chat import Encoded
from honed.train import attention, lora
from honed.train.objectives.sft import Sft
from honed.train.optim import Optimizer, learning_rate
from tests.numerics.rows import chat, gradients, packed_model, uneven
from tests.tiny import tiny_folder


def adapted(seed: int = 0, dropout: float = 0.0) -> PreTrainedModel:
    model = packed_model()
    lora.add(model, rank=4, alpha=8.0, dropout=dropout, seed=seed)
    return model


def steps(model: PreTrainedModel, count: int, rate: float = 1e-2) -> Optimizer:
    """Train a little on uneven rows."""
    optimizer = Optimizer([(n, p) for n, p in model.named_parameters() if p.requires_grad], weight_decay=0.0)
    objective, rows = Sft(fused=True), uneven(4)
    model.train()
    for _ in range(count):
        pack = objective.collate(rows)
        (objective.loss(model, pack) / pack.weights.sum()).backward()
        optimizer.accumulate()
        optimizer.step(rate, 1.0)
    model.eval()
    return optimizer


def logits(model: PreTrainedModel, row: Encoded) -> torch.Tensor:
    inputs = {"segments": attention.Segments((len(row.ids),))} if model.config._attn_implementation != "sdpa" else {}
    with torch.no_grad():
        return model(torch.tensor([row.ids]), **inputs).logits


def test_a_fresh_adapter_changes_nothing() -> None:
    row = uneven(1)[0]
    torch.testing.assert_close(logits(adapted(), row), logits(packed_model(), row), rtol=0, atol=0)


def test_adapter_gradients_equal_those_of_peft() -> None:
    rows = uneven(3)
    ours = adapted()
    with torch.no_grad():
        for module in ours.modules():
            if isinstance(module, lora.LoraLinear):
                module.lora_B.normal_(std=0.1)
    theirs = peft.get_peft_model(
        packed_model(), peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    with torch.no_grad():
        for name, module in ours.named_modules():
            if isinstance(module, lora.LoraLinear):
                other = theirs.get_submodule(f"base_model.model.{name}")
                other.lora_A["default"].weight.copy_(module.lora_A)
                other.lora_B["default"].weight.copy_(module.lora_B)
    mine = gradients(ours, rows, [[0, 1, 2]])
    inner = gradients(theirs.get_base_model(), rows, [[0, 1, 2]])
    assert len(mine) == len(inner) > 0
    for name, gradient in mine.items():
        twin = inner[name.replace("lora_A", "lora_A.default.weight").replace("lora_B", "lora_B.default.weight")]
        torch.testing.assert_close(gradient, twin, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("tied", [True, False])
def test_adapter_logits_equal_those_saved_merged_and_reloaded(tmp_path: Path, tied: bool) -> None:
    base = tiny_folder(tmp_path / "base", tied=tied)
    attention.register()
    model = AutoModelForCausalLM.from_pretrained(base, attn_implementation=attention.FUSED)
    lora.add(model, rank=4, alpha=8.0, dropout=0.0, seed=0)
    steps(model, 3)
    row = uneven(1)[0]
    trained, before = logits(model, row), logits(packed_model(), row)
    lora.merge(model)
    saving.save(model, chat(), tmp_path / "merged")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(again, row), trained, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(trained, before, atol=1e-3)
    assert (again.get_output_embeddings().weight is again.get_input_embeddings().weight) == tied


def test_an_adapter_that_peft_loads_gives_the_trained_logits_not_the_bases(tmp_path: Path) -> None:
    base = tiny_folder(tmp_path / "base")
    model = adapted()
    steps(model, 3)
    lora.save(model, tmp_path / "adapter", base=str(base), rank=4, alpha=8.0, dropout=0.0)
    plain = AutoModelForCausalLM.from_pretrained(base)
    row = uneven(1)[0]
    without = logits(plain, row)
    loaded = peft.PeftModel.from_pretrained(plain, tmp_path / "adapter")
    torch.testing.assert_close(loaded(torch.tensor([row.ids])).logits, logits(model, row), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(loaded(torch.tensor([row.ids])).logits, without, atol=1e-3)


def test_adapters_depend_on_their_seed_alone() -> None:
    torch.manual_seed(1)
    one = adapted(seed=7).state_dict()
    torch.manual_seed(2)
    other = adapted(seed=7).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert any(not torch.equal(one[name], value) for name, value in adapted(seed=8).state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("weights", ["full", "lora"])
def test_every_trainable_tensor_changes_after_step_1_at_the_smallest_rate_of_the_warm_up(
    dtype: torch.dtype, weights: str
) -> None:
    model = (adapted() if weights == "lora" else packed_model()).to(dtype)
    if weights == "lora":  # B = 0 gives A no gradient at step 1, in the paper too
        for module in model.modules():
            if isinstance(module, lora.LoraLinear):
                torch.nn.init.normal_(module.lora_B, std=0.02)
    optimizer = Optimizer([(n, p) for n, p in model.named_parameters() if p.requires_grad], weight_decay=0.0)
    before = [master.detach().clone() for master in optimizer.masters]
    objective = Sft(fused=True)
    pack = objective.collate(uneven(4))
    (objective.loss(model, pack) / pack.weights.sum()).backward()
    optimizer.accumulate()
    optimizer.step(learning_rate(0, 1000, peak=1e-5, warmup=0.1, schedule="cosine"), 1.0)
    for name, old, master in zip(optimizer.names, before, optimizer.masters, strict=True):
        assert master.dtype == torch.float32
        assert not torch.equal(old, master), name


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


def test_state_put_back_goes_on_bit_for_bit() -> None:
    straight, stopped = packed_model(), packed_model()
    one, other = steps(straight, 3), steps(stopped, 2)
    resumed = packed_model()
    fresh = Optimizer(list(resumed.named_parameters()), weight_decay=0.0)
    fresh.load_state({name: tensor.clone() for name, tensor in other.state().items()})
    objective, rows = Sft(fused=True), uneven(4)
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
