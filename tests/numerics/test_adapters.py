"""Traps 16, 18, 23: adapters compute what their papers say, as PEFT does, and what is saved is what was trained."""

from __future__ import annotations

import json
from pathlib import Path

import peft
import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    MambaConfig,
    MambaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
)

from honed.errors import ConfigError
from honed.models import save as saving
from honed.train import adapters, attention, lora
from honed.train.lora import LoraLinear
from honed.train.lora_config import LoraConfig
from tests.numerics.adapted import KINDS, adapted, layers, logits, steps, stir
from tests.numerics.rows import chat, gradients, packed_model, uneven
from tests.tiny import tiny_folder

kinds = pytest.mark.parametrize("kind", KINDS)


def peft_model(made: LoraConfig) -> peft.PeftModel:
    return peft.get_peft_model(
        packed_model(),
        peft.LoraConfig(
            r=made.rank,
            lora_alpha=made.alpha,
            use_rslora=made.rslora,
            use_dora=made.dora,
            target_modules=adapters.chosen(packed_model(), made.targets),
            task_type="CAUSAL_LM",
        ),
    )


@kinds
def test_a_fresh_adapter_changes_nothing(kind: str) -> None:
    row = uneven(1)[0]
    torch.testing.assert_close(logits(adapted(KINDS[kind]), row), logits(packed_model(), row), rtol=0, atol=0)


@kinds
def test_adapter_gradients_equal_those_of_peft(kind: str) -> None:
    rows, ours, theirs = uneven(3), stir(adapted(KINDS[kind])), peft_model(KINDS[kind])
    with torch.no_grad():
        for name, module in layers(ours).items():
            other = theirs.get_submodule(f"base_model.model.{name}")
            other.lora_A["default"].weight.copy_(module.lora_A)
            other.lora_B["default"].weight.copy_(module.lora_B)
            if module.magnitude is not None:
                other.lora_magnitude_vector["default"].weight.copy_(module.magnitude)
    mine, inner = gradients(ours, rows, [[0, 1, 2]]), gradients(theirs.get_base_model(), rows, [[0, 1, 2]])
    assert len(mine) == len(inner) == len(layers(ours)) * (3 if kind == "dora" else 2)
    names = {"lora_A": "lora_A.default.weight", "lora_B": "lora_B.default.weight"}
    names["moved"] = "lora_magnitude_vector.default.weight"
    for name, gradient in mine.items():
        stem, _, last = name.rpartition(".")
        torch.testing.assert_close(gradient, inner[f"{stem}.{names[last]}"], rtol=1e-4, atol=1e-6)


def test_dropout_is_drawn_anew_in_training_and_absent_in_evaluation() -> None:
    model = stir(adapted(LoraConfig(rank=4, alpha=8.0, dropout=0.5)))
    row, without = uneven(1)[0], logits(stir(adapted()), uneven(1)[0])
    torch.testing.assert_close(logits(model, row), without, rtol=0, atol=0)
    model.train()
    assert not torch.equal(logits(model, row), logits(model, row))


@pytest.mark.parametrize("probability", [0.0, 0.05, 0.5, 0.9])
def test_dropout_drops_the_share_that_was_asked_for_evenly(probability: float) -> None:
    torch.manual_seed(0)
    dropped = lora._dropped(torch.empty(997, 203), probability).float()
    assert float(dropped.mean()) == pytest.approx(probability, abs=0.004)
    flat = dropped.flatten()
    for slot in range(4):  # of the draw that four elements share
        assert float(flat[slot::4].mean()) == pytest.approx(probability, abs=0.01)
        assert float((flat[slot::4] * flat.roll(-1)[slot::4]).mean()) == pytest.approx(probability**2, abs=0.01)


def test_the_norm_of_dora_is_that_of_the_merged_weight() -> None:
    for layer in layers(stir(adapted(KINDS["dora"]))).values():
        whole = layer.base.weight + layer.scale * layer.lora_B @ layer.lora_A
        torch.testing.assert_close(layer.norm(), whole.norm(dim=1))


def test_a_magnitude_in_16_bits_is_rounded_by_what_it_has_moved_alone() -> None:
    layer = LoraLinear(nn.Linear(6, 5), torch.randn(2, 6), scale=1.0, dropout=0.0, dora=True)
    assert layer.moved is not None and layer.magnitude is not None
    layer.moved.data += 1e-3 * torch.rand(5)
    exact = layer.magnitude
    layer.moved.data = layer.moved.data.bfloat16()  # as it is gathered under fsdp
    assert layer.magnitude.dtype == torch.float32
    torch.testing.assert_close(layer.magnitude, exact, rtol=0, atol=1e-3 * 2**-8)


def test_a_row_of_zeros_stays_zero_under_dora() -> None:
    base = nn.Linear(6, 5, bias=False).requires_grad_(False)
    base.weight.data[2] = 0
    layer = LoraLinear(base, torch.randn(2, 6), scale=1.0, dropout=0.0, dora=True)
    out = layer(torch.randn(4, 6))
    out.sum().backward()
    assert torch.equal(out[:, 2], torch.zeros(4))
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters() if p.grad is not None)


@kinds
@pytest.mark.parametrize("tied", [True, False])
def test_adapter_logits_equal_those_saved_merged_and_reloaded(tmp_path: Path, tied: bool, kind: str) -> None:
    base = tiny_folder(tmp_path / "base", tied=tied)
    attention.register()
    model = adapted(KINDS[kind], model=AutoModelForCausalLM.from_pretrained(base, attn_implementation=attention.FUSED))
    steps(model, 3)
    row = uneven(1)[0]
    trained, before = logits(model, row), logits(packed_model(), row)
    adapters.merge(model)
    saving.save(model, chat(), tmp_path / "merged")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(again, row), trained, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(trained, before, atol=1e-3)
    assert (again.get_output_embeddings().weight is again.get_input_embeddings().weight) == tied


@kinds
@pytest.mark.parametrize("tied", [True, False])
def test_an_adapter_that_peft_loads_gives_the_trained_logits_not_the_bases(
    tmp_path: Path, kind: str, tied: bool
) -> None:
    base = tiny_folder(tmp_path / "base", tied=tied)
    attention.register()
    model = adapted(KINDS[kind], model=AutoModelForCausalLM.from_pretrained(base, attn_implementation=attention.FUSED))
    steps(model, 3)
    adapters.save(model, KINDS[kind], tmp_path / "adapter", base=str(base))
    row = uneven(1)[0]
    trained, without = logits(model, row), logits(AutoModelForCausalLM.from_pretrained(base), row)
    loaded = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    torch.testing.assert_close(logits(loaded, row), trained, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(trained, without, atol=1e-3)
    torch.testing.assert_close(logits(loaded.merge_and_unload(), row), trained, rtol=1e-4, atol=1e-4)
    if kind == "dora":  # transformers 5.23 alone looks for its magnitudes under a key that PEFT itself doesn't write
        return
    plain = AutoModelForCausalLM.from_pretrained(base)
    plain.load_adapter(tmp_path / "adapter")  # transformers' own door
    torch.testing.assert_close(logits(plain, row), trained, rtol=1e-4, atol=1e-4)


@kinds
def test_what_is_saved_is_what_peft_itself_saves(tmp_path: Path, kind: str) -> None:
    """Its keys, shapes and settings: tools that read PEFT's folders, vLLM among them, read ours."""
    adapters.save(adapted(KINDS[kind]), KINDS[kind], tmp_path / "ours", base="b")
    peft_model(KINDS[kind]).save_pretrained(tmp_path / "theirs", save_embedding_layers=False)
    from safetensors.torch import load_file

    ours, theirs = (load_file(tmp_path / who / "adapter_model.safetensors") for who in ("ours", "theirs"))
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
    mine, inner = (json.loads((tmp_path / who / "adapter_config.json").read_text()) for who in ("ours", "theirs"))
    for key in mine.keys() - {"base_model_name_or_path", "inference_mode", "target_modules"}:
        assert mine[key] == inner[key], key
    assert mine.keys() <= inner.keys()


def test_layers_of_one_name_are_targets_by_that_name_and_others_by_their_whole_name(tmp_path: Path) -> None:
    def written(targets: tuple[str, ...] | None) -> list[str]:
        made = LoraConfig(rank=2, alpha=2.0, targets=targets)
        adapters.save(adapted(made), made, tmp_path, base="b")
        return list(json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"])

    assert written(None) == sorted(["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])
    assert written(("mlp.up_proj", "q_proj")) == ["q_proj", "up_proj"]
    assert written(("layers.1.mlp.up_proj",)) == ["model.layers.1.mlp.up_proj"]


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("q_prj", "Did you mean 'q_proj'?"),
        ("lm_head", "q_proj"),
        ("embed_tokens", "q_proj"),
        ("layers.7.*", "Its layers"),
    ],
)
def test_a_target_that_is_no_linear_layer_is_refused_and_those_there_are_named(target: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=target.replace("*", r"\*")) as error:
        adapted(LoraConfig(rank=4, alpha=8.0, targets=("up_proj", target)))
    assert hint in error.value.hint and "down_proj" in error.value.hint


def without_linear_layers() -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=10, n_embd=8, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=2))


def test_adapters_are_counted_before_they_are_made_and_reach_most_of_a_model_unless_its_experts_are_one_tensor() -> (
    None
):
    model, targets = packed_model(), ("q_proj", "mlp.*")
    counted, matrices = adapters.count(model, 4, targets), adapters.matrices(model)
    adapters.add(model, LoraConfig(rank=4, alpha=8.0, targets=targets), seed=0)
    assert counted == sum(p.numel() for p in model.parameters() if p.requires_grad) > 0
    frozen = [p.numel() for name, p in packed_model().named_parameters() if name.endswith("_proj.weight")]
    assert matrices == sum(frozen)
    assert adapters.reach_most(packed_model())
    assert not adapters.reach_most(without_linear_layers())
    experts = MixtralConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
    )
    assert not adapters.reach_most(MixtralForCausalLM(experts))
    states = MambaConfig(vocab_size=50, hidden_size=32, num_hidden_layers=1, state_size=4)
    assert not adapters.reach_most(MambaForCausalLM(states))


def test_a_model_without_linear_layers_is_refused() -> None:
    model = without_linear_layers()
    with pytest.raises(ConfigError, match="no linear layer"):
        adapters.add(model, KINDS["lora"], seed=0)


def test_adapters_depend_on_their_seed_alone() -> None:
    torch.manual_seed(1)
    one = adapted(seed=7).state_dict()
    torch.manual_seed(2)
    other = adapted(seed=7).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert any(not torch.equal(one[name], value) for name, value in adapted(seed=8).state_dict().items())


def test_frozen_weights_get_no_gradient_no_optimizer_state_and_no_copy() -> None:
    model = packed_model()
    before = {name: p.data_ptr() for name, p in model.named_parameters()}
    adapted(KINDS["dora"], model=model)
    optimizer = steps(model, 1)
    frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    assert {name.replace(".base.", "."): p.data_ptr() for name, p in frozen.items()} == before
    assert all(p.grad is None for p in frozen.values())
    learned = sum(p.numel() for p in model.parameters() if p.requires_grad)
    held = sum(t.numel() for name, t in optimizer.state().items() if not name.startswith("step."))
    assert held == 3 * learned  # the weight itself and two moments


def test_layers_that_read_one_input_keep_it_once() -> None:
    model = adapted()
    attend = model.get_submodule("model.layers.0.self_attn")
    x = torch.randn(1, 50, 32, requires_grad=True)
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        made = [attend.get_submodule(name)(x) for name in ("q_proj", "k_proj", "v_proj")]
    assert sum(size for size in kept.values() if size == x.numel()) == x.numel()
    assert sum(kept.values()) < 2 * x.numel() + sum(p.numel() for p in attend.parameters())
    assert len(made) == 3


def test_nothing_is_computed_backward_below_the_first_adapter() -> None:
    model = adapted(LoraConfig(rank=4, alpha=8.0, targets=("layers.1.*",)))
    seen: dict[str, bool] = {}
    for name in ("model.layers.0", "model.layers.1"):
        model.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: seen.update({name: (out if torch.is_tensor(out) else out[0]).requires_grad})
        )
    gradients(model, uneven(2), [[0, 1]])
    assert seen == {"model.layers.0": False, "model.layers.1": True}


def trained_in_bf16(made: LoraConfig) -> tuple[PreTrainedModel, torch.Tensor]:
    model = adapted(made, model=packed_model().to(torch.bfloat16))
    steps(model, 5)
    return model, logits(model, uneven(1)[0])


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_bf16_adapters_learn_and_merge_to_bf16_precision(kind: str) -> None:
    model, trained = trained_in_bf16(KINDS[kind])
    before = logits(packed_model().to(torch.bfloat16), uneven(1)[0])
    adapters.merge(model)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    gap = (logits(model, uneven(1)[0]).float() - trained.float()).norm()
    assert gap < 0.03 * trained.float().norm()
    assert gap < 0.3 * (before.float() - trained.float()).norm()
