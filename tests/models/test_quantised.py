"""Checkpoints with quantised weights: read as the plain weights that they stand for, or refused for what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Gemma3Config, GptOssConfig, GptOssForCausalLM, PreTrainedModel

from honed.errors import ModelError
from honed.models import load, quantised
from honed.models.save import save
from tests.models.test_load import logits
from tests.tiny import tiny_folder, tiny_model, tiny_tokenizer

Q_PROJ = "model.layers.0.self_attn.q_proj"
FP4 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0])


def say(folder: Path, stated: Mapping[str, Any]) -> None:
    """Have the model's settings say how it is quantised."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": stated}))


def change(folder: Path, tensors: Mapping[str, torch.Tensor | None]) -> None:
    """Put tensors into the model's file; None takes one out."""
    path = folder / "model.safetensors"
    merged = load_file(path) | tensors
    save_file({name: tensor for name, tensor in merged.items() if tensor is not None}, path, {"format": "pt"})


def in_8_bits(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight as 8-bit floats and the scale of all of them."""
    scale = weight.abs().max() / 448
    return (weight / scale).to(torch.float8_e4m3fn), scale.reshape(1, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny model of which one layer has 8-bit floats and their scale, as NVIDIA's tools write them."""
    made = tiny_folder(tmp_path / "tiny")
    codes, scale = in_8_bits(tiny_model().get_parameter(f"{Q_PROJ}.weight").detach())
    change(made, {f"{Q_PROJ}.weight": codes, f"{Q_PROJ}.weight_scale": scale})
    return made


@pytest.mark.parametrize(
    ("stated", "called"),
    [
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "modelopt"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes 4-bit"),
        ({"load_in_8bit": True}, "bitsandbytes 8-bit"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptq 4-bit"),
        ({"quant_method": "fp8", "modules_to_convert": ["embed_tokens"]}, "fp8"),
    ],
)
@pytest.mark.parametrize("how", [load.load, load.outline])
def test_weights_that_can_not_be_made_plain_are_refused_by_their_name(
    how: Any, stated: dict[str, Any], called: str, folder: Path
) -> None:
    say(folder, stated)
    with pytest.raises(ModelError, match=rf"its weights are quantised \({called}\)") as error:
        how(str(folder), None)
    assert "qlora" in error.value.hint


def test_what_the_text_part_of_the_settings_says_counts_too(tmp_path: Path) -> None:
    config = Gemma3Config(text_config={"quantization_config": {"quant_method": "awq", "bits": 4}})
    with pytest.raises(ModelError, match="awq 4-bit"):
        quantised.ask_for_plain(tmp_path, config)


def test_quantised_weights_that_no_setting_tells_of_are_refused(folder: Path) -> None:
    with pytest.raises(
        ModelError, match=rf"1 tensors have no place in its layers, the first is {Q_PROJ}\.weight_scale"
    ):
        load.load(str(folder), None)


@pytest.mark.parametrize("name", [f"{Q_PROJ}.bias", f"{Q_PROJ}.lora_A.weight", "layers.1.mlp.up_proj.bias"])
def test_a_tensor_of_a_layer_that_has_no_place_for_it_is_not_left_out_unsaid(name: str, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "tiny")
    change(folder, {name: torch.zeros(4)})
    with pytest.raises(ModelError, match=name):
        load.load(str(folder), None)


def test_tensors_that_a_text_model_can_do_without_are_left_aside(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "tiny")
    names = ("model.layers.0.self_attn.rotary_emb.inv_freq", "model.layers.2.mlp.up_proj.weight", "mtp.norm.weight")
    heads = ("v_head.weight", "lm_head.weight", f"{Q_PROJ}.input_scale", "model.layers.0.self_attn.k_scale")
    embedding = tiny_model().get_input_embeddings().weight.detach().clone()
    change(folder, {name: embedding if name == "lm_head.weight" else torch.zeros(4) for name in (*names, *heads)})
    assert torch.equal(logits(load.load(str(folder), None).model), logits(tiny_model()))


def is_plain(model: PreTrainedModel, folder: Path, expected: PreTrainedModel) -> None:
    """Loaded and saved it is what is expected, and says nothing of having been anything else."""
    assert torch.equal(logits(model), logits(expected))
    assert all(type(module).__module__.startswith("torch") for name, module in model.named_modules() if "_proj" in name)
    chat = load.from_tokenizer(tiny_tokenizer())
    save(model, chat, folder)
    assert "quantization_config" not in (folder / "config.json").read_text()
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.float32}
    assert torch.equal(logits(load.load(str(folder), None).model), logits(expected))


FP8 = {"quant_method": "fp8", "weight_block_size": [16, 16], "activation_scheme": "dynamic"}


def test_8_bit_floats_are_read_as_the_weights_that_they_stand_for_and_saved_as_these(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    folder, expected = tiny_folder(tmp_path / "tiny"), tiny_model()
    for weight in expected.parameters():
        weight.data = weight.data.bfloat16().float()
    change(folder, {name: tensor.bfloat16() for name, tensor in load_file(folder / "model.safetensors").items()})
    for name, layer in expected.named_modules():
        if name.endswith("_proj"):
            codes, scale = in_8_bits(layer.weight.data)
            change(folder, {f"{name}.weight": codes, f"{name}.weight_scale_inv": scale})
            layer.weight.data = codes.float() * scale
    say(folder, FP8)
    is_plain(load.load(str(folder), None).model, tmp_path / "saved", expected)
    narrow = load.load(str(folder), None, dtype=torch.bfloat16).model
    assert {weight.dtype for weight in narrow.parameters()} == {torch.bfloat16}


def test_8_bit_floats_without_the_package_that_reads_them_are_refused_by_its_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantised, "find_spec", lambda _: None)
    say(folder, FP8)
    with pytest.raises(ModelError, match="read with accelerate, which isn't installed") as error:
        load.outline(str(folder), None)
    assert "pip install accelerate" in error.value.hint


def in_4_bits(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random codes of experts' weights in blocks of 32, their exponents, and the weights as the model has them."""
    codes = torch.randint(256, (*shape[:-1], shape[-1] // 32, 16), dtype=torch.uint8)
    exponents = torch.randint(122, 125, codes.shape[:-1], dtype=torch.uint8)
    pairs = torch.stack((FP4[(codes & 15).long()], FP4[(codes >> 4).long()]), dim=-1).flatten(-2)
    return codes, exponents, (pairs * 2.0 ** (exponents.float() - 127)[..., None]).flatten(-2).transpose(1, 2)


def test_gpt_oss_is_read_as_the_weights_that_its_4_bits_stand_for_and_saved_as_these(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "oss")
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 32, "head_dim": 16, "num_hidden_layers": 2, "vocab_size": 259}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 2, "num_experts_per_tok": 1}
    ids = {"bos_token_id": None, "eos_token_id": 257, "pad_token_id": 258}
    expected = GptOssForCausalLM(GptOssConfig(**sizes, **heads, **ids, layer_types=["full_attention"] * 2)).eval()
    expected.save_pretrained(folder)
    for name, weight in expected.named_parameters():
        if name.endswith(("gate_up_proj", "down_proj")):
            blocks, scales, weight.data = in_4_bits((weight.shape[0], weight.shape[2], weight.shape[1]))
            change(folder, {name: None, f"{name}_blocks": blocks, f"{name}_scales": scales})
    say(folder, {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]})
    counted = [sum(p.numel() for p in model.parameters()) for model in (load.outline(str(folder), None), expected)]
    assert counted[0] == counted[1]
    is_plain(load.load(str(folder), None).model, tmp_path / "saved", expected)
