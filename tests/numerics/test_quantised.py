"""Trap 19: adapters beside 4-bit weights are trained, saved and merged against those very weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from honed.models import save as saving
from honed.train import adapters, attention
from honed.train.kernels.install import install
from honed.train.lora import LoraLinear
from honed.train.lora_config import LoraConfig
from honed.train.quantise import Nf4Linear, dense, quantise
from tests.needs import missing
from tests.numerics.adapted import KINDS, adapted, layers, logits, steps, stir
from tests.numerics.rows import chat, close, gradients, packed_model, uneven
from tests.tiny import tiny_folder

kinds = pytest.mark.parametrize("kind", KINDS)

TOLERANCE = 1e-4
"""Of the logits of a merged model beside those of the trained one: fp32 rounding, nothing that NF4 lost."""


@pytest.fixture(autouse=True)
def _library() -> None:
    if importlib.util.find_spec("bitsandbytes") is None:
        missing("bitsandbytes", "bitsandbytes", by="pip")


def quantised(base: Path | None = None) -> PreTrainedModel:
    attention.register()
    model = packed_model()
    if base:
        model = AutoModelForCausalLM.from_pretrained(base, attn_implementation=attention.FUSED)
    quantise(model, "cpu")
    assert sum(isinstance(module, Nf4Linear) for module in model.modules()) == 14
    return model


def unpacked(model: PreTrainedModel) -> PreTrainedModel:
    """The same model in plain weights: what the codes stand for."""
    adapters.merge(model)
    return model


def test_four_bits_stand_for_every_weight_but_the_heads_and_stay_close_to_it() -> None:
    plain, small = packed_model(), quantised()
    for name, module in small.named_modules():
        if not isinstance(module, Nf4Linear):
            continue
        weight = plain.get_submodule(name).weight
        assert module.packed.numel() * 2 == weight.numel()  # two codes a byte
        gap = (module.unpacked() - weight).norm() / weight.norm()
        assert 0.02 < gap < 0.15, name
    head = small.get_output_embeddings()
    assert head is not None and torch.equal(head.weight, plain.get_output_embeddings().weight)


def test_a_quantised_model_computes_with_its_codes_forward_and_backward() -> None:
    small, plain = quantised(), unpacked(quantised())
    row = torch.tensor([uneven(1)[0].ids])
    made = []
    for model in (small, plain):
        inputs = model.get_input_embeddings()(row).detach().requires_grad_()
        out = model(inputs_embeds=inputs, segments=attention.Segments((row.shape[1],))).logits
        out.square().sum().backward()
        made.append((out.detach(), inputs.grad))
    torch.testing.assert_close(made[0], made[1], rtol=1e-4, atol=1e-4)


@kinds
@pytest.mark.parametrize("ours", [False, True])
def test_gradients_equal_those_of_adapters_on_the_unpacked_weights(kind: str, ours: bool) -> None:
    rows = uneven(3)
    models = quantised(), unpacked(quantised())
    if ours:
        assert [install(model).describe()["swiglu"] for model in models] == ["2 of 2"] * 2
    small, plain = (stir(adapted(KINDS[kind], model=model)) for model in models)
    close(gradients(small, rows, [[0, 1, 2]]), gradients(plain, rows, [[0, 1, 2]]))


@pytest.mark.parametrize("tied", [True, False])
@kinds
def test_adapter_logits_equal_those_merged_into_the_weights_that_they_were_trained_beside(
    tmp_path: Path, kind: str, tied: bool
) -> None:
    base = tiny_folder(tmp_path / "base", tied=tied)
    model = adapted(KINDS[kind], model=quantised(base))
    steps(model, 3)
    row = uneven(1)[0]
    trained = logits(model, row)
    learned = {name: layer.merged().weight - dense(layer.base) for name, layer in layers(model).items()}
    adapters.merge(model)
    assert not any(isinstance(module, LoraLinear | Nf4Linear) for module in model.modules())
    saving.save(model, chat(), tmp_path / "merged")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(again, row), trained, rtol=TOLERANCE, atol=TOLERANCE)
    assert (again.get_output_embeddings().weight is again.get_input_embeddings().weight) == tied
    wrong = AutoModelForCausalLM.from_pretrained(base)  # the trap: the same update on the weights before quantisation
    with torch.no_grad():
        for name, update in learned.items():
            wrong.get_submodule(name).weight += update
    assert (logits(wrong, row) - trained).abs().max() > 100 * TOLERANCE


@kinds
def test_an_adapter_that_peft_loads_on_a_4_bit_base_gives_the_trained_logits(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where a CPU has the units, bitsandbytes computes in 16 bits whatever it is told, and rows must be whole blocks.
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: False)
    base = tiny_folder(tmp_path / "base", hidden=64)
    model = adapted(KINDS[kind], model=quantised(base))
    steps(model, 3)
    adapters.save(model, KINDS[kind], tmp_path / "adapter", base=str(base))
    row = uneven(1)[0]
    four_bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    plain = AutoModelForCausalLM.from_pretrained(base, quantization_config=four_bits, device_map="cpu")
    without = logits(plain, row)
    loaded = peft.PeftModel.from_pretrained(plain, tmp_path / "adapter")
    torch.testing.assert_close(logits(loaded, row), logits(model, row), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(logits(model, row), without, atol=1e-2)


def test_quantised_weights_keep_four_bits_through_training_and_no_gradient() -> None:
    model = adapted(LoraConfig(rank=2, alpha=4.0, targets=("q_proj",)), model=quantised())
    before = {name: module.packed.clone() for name, module in model.named_modules() if isinstance(module, Nf4Linear)}
    steps(model, 2)
    after = {name: module.packed for name, module in model.named_modules() if isinstance(module, Nf4Linear)}
    assert len(after) == 14 and all(torch.equal(before[name], codes) for name, codes in after.items())
    assert {name.rpartition(".")[2] for name, p in model.named_parameters() if p.grad is not None} <= {
        "lora_A",
        "lora_B",
    }
