"""What training reaches of a model, and that what it leaves as it is is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from peft.utils import transformers_weight_conversion as conversion
from transformers import (
    AutoModelForCausalLM,
    Gemma3Config,
    LlamaConfig,
    MixtralConfig,
    PreTrainedModel,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
)

from honed.errors import ConfigError
from honed.jobs import job as jobs
from honed.models.load import load
from honed.store.workspace import Workspace
from honed.train import adapters, footprint, prepare, reach
from honed.train.config import TrainConfig
from honed.train.lora_config import LoraConfig
from honed.train.quantise import quantise
from honed.train.ranks import ALONE
from honed.train.setup import set_up
from tests.tiny import tiny_folder
from tests.train.jobs import finish, settings, start
from tests.train.test_adapters import needs_bitsandbytes

HEADS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
STATES = {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 8}
LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
EXPERTS = {"n_routed_experts": 4, "n_group": 1, "topk_group": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
FAMILIES: dict[str, dict[str, Any]] = {
    "FalconH1": {**HEADS, **STATES, "num_key_value_heads": 2},
    "Mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    "DeepseekV3": {**HEADS, **LATENT, **EXPERTS, "num_key_value_heads": 4, "first_k_dense_replace": 1},
    "HunYuanMoEV1": {**HEADS, "num_key_value_heads": 2, "num_experts": 4, "moe_topk": [2, 2], "head_dim": 8},
}


def made(family: str, folder: Path) -> PreTrainedModel:
    """A tiny random model of a family, in a folder that has the tiny tokenizer."""
    tiny_folder(folder)
    stated = LlamaConfig.from_pretrained(folder)
    config = getattr(transformers, f"{family}Config")(
        vocab_size=stated.vocab_size, bos_token_id=None, eos_token_id=257, pad_token_id=None, **FAMILIES[family]
    )
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    return model


def with_pictures(folder: Path) -> PreTrainedModel:
    """A tiny random Gemma 3 that sees pictures, too, with the settings of its processors."""
    tiny_folder(folder)
    text = {**HEADS, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 64, "query_pre_attn_scalar": 8}
    seen = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config={**text, "vocab_size": 259, "max_position_embeddings": 512},
        vision_config={**seen, "image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
        bos_token_id=None,
        eos_token_id=257,
        pad_token_id=None,
    )
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    for name in ("preprocessor_config.json", "processor_config.json"):
        (folder / name).write_text('{"image_size": 28}')
    (folder.parent / "secret").write_text('{"token": 1}')
    (folder / "x_processor_config.json").unlink(missing_ok=True)
    (folder / "x_processor_config.json").symlink_to(folder.parent / "secret")  # as a downloaded folder may have it
    return model


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        out: torch.Tensor = model(torch.arange(40)[None]).logits
    return out


@pytest.mark.parametrize("family", ["FalconH1", "Mamba", "DeepseekV3"])
def test_peft_gives_the_logits_of_the_published_model(family: str, home: Workspace) -> None:
    folder = home.path.parent / family
    base = logits(made(family, folder))
    given = {"name": family.lower(), "base": str(folder), "weights": "lora", "epochs": 0.5, "learning_rate": 3e-2}
    result = finish(start(home, **given))
    published = load(result["model"], home).model
    adapter = home.models / family.lower() / "v1" / "adapter"
    theirs = logits(peft.AutoPeftModelForCausalLM.from_pretrained(adapter))
    torch.testing.assert_close(theirs, logits(published), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(theirs, base, atol=1e-2)
    said = " ".join(result["reasons"])
    assert ("down_proj, gate_proj, up_proj (6) get no adapters" in said) == (family == "DeepseekV3")
    assert ("stay as they are, without adapters: the code around" in said) == (family != "DeepseekV3")


@pytest.mark.parametrize("family", ["FalconH1", "Mamba", "HunYuanMoEV1"])
def test_layers_whose_weight_is_read_get_neither_adapters_nor_4_bits(family: str, tmp_path: Path) -> None:
    model = made(family, tmp_path)
    if family == "HunYuanMoEV1":
        assert {name.rpartition(".")[2] for name in adapters.left_out(model)} == {"wg"}
    needs_bitsandbytes()
    quantise(model, "cpu")
    adapters.add(model, LoraConfig(rank=4, alpha=8.0), seed=0)
    assert logits(model.train()).isfinite().all()  # in training some go another way


def test_a_target_whose_weight_is_read_is_refused_with_the_reason(tmp_path: Path) -> None:
    model = made("FalconH1", tmp_path)
    with pytest.raises(ConfigError, match=r"'out_proj'.*can't have adapters: the code around them reads") as error:
        adapters.add(model, LoraConfig(rank=4, alpha=8.0, targets=("in_proj", "out_proj")), seed=0)
    assert "in_proj" in error.value.hint and "out_proj" not in error.value.hint


@pytest.mark.parametrize("weights", ["full", "lora"])
def test_what_sees_pictures_stays_as_it_is_and_the_published_model_can_be_served_with_them(
    weights: str, home: Workspace
) -> None:
    folder = home.path.parent / f"pictures-{weights}"
    base, name = with_pictures(folder), f"pictures-{weights}"
    result = finish(start(home, name=name, base=str(folder), weights=weights, epochs=0.5, learning_rate=3e-2))
    published, made = load(result["model"], home).model, home.models / name / "v1"
    assert (made / "preprocessor_config.json").read_text() == (made / "processor_config.json").read_text()
    assert not (made / "x_processor_config.json").exists()
    before, seen, text = dict(base.named_parameters()), 0, 0
    for at, weight in published.named_parameters():
        seen += "language_model" not in at
        text += weight.numel() if "language_model" in at else 0
        assert torch.equal(weight, before[at]) or "language_model" in at
    assert seen and any("no text goes through them" in reason for reason in result["reasons"])
    if weights == "full":
        assert result["ran"]["trainable_parameters"] == text
        return
    assert result["ran"]["adapters"] == 14
    theirs = peft.PeftModel.from_pretrained(base.eval(), made / "adapter")
    torch.testing.assert_close(logits(theirs), logits(published), rtol=1e-4, atol=1e-4)


def of_text_alone(folder: Path) -> None:
    """A tiny random Qwen3.5 that sees pictures, of which transformers loads the part that reads text."""
    tiny_folder(folder)
    text = {**HEADS, "num_key_value_heads": 2, "head_dim": 8, "layer_types": ["full_attention"] * 2}
    seen = {"hidden_size": 16, "intermediate_size": 32, "depth": 1, "num_heads": 2, "out_hidden_size": 32}
    config = Qwen3_5Config(
        text_config={**text, "vocab_size": 259, "max_position_embeddings": 512, "eos_token_id": 257},
        vision_config={**seen, "patch_size": 4, "num_position_embeddings": 16},
    )
    Qwen3_5ForConditionalGeneration(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text("{}")


def test_a_base_of_which_transformers_leaves_the_towers_out_is_published_without_processors_and_said(
    home: Workspace,
) -> None:
    folder = home.path.parent / "text-alone"
    of_text_alone(folder)
    result = finish(start(home, name="text-alone", base=str(folder), weights="lora", epochs=0.1))
    assert any("takes no pictures or sound" in reason for reason in result["reasons"])
    assert not list((home.models / "text-alone" / "v1").glob("*processor_config.json"))
    assert not load(result["model"], home).text_part


def test_weights_that_no_text_moves_are_not_counted_as_trained(tmp_path: Path) -> None:
    model = with_pictures(tmp_path)
    assert adapters.reach_most(model)
    config = TrainConfig(base="x", data="y", precision="fp32")
    without = footprint.held(model, config, "full", "cpu", "fp32")
    reach.freeze_beside_text(model)
    learned = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert (without.gradients, without.optimizer) == footprint.kept(learned, config, "full", "cpu", "fp32")


def test_who_names_layers_that_peft_takes_for_experts_is_told_that_it_cannot_load_the_adapter(home: Workspace) -> None:
    folder = home.path.parent / "experts"
    made("DeepseekV3", folder)
    lora = {"targets": ["o_proj", "down_proj"]}
    result = finish(start(home, name="named", base=str(folder), weights="lora", epochs=0.2, lora=lora))
    assert result["ran"]["adapters"] == 4
    assert any("PEFT can't load the adapter" in reason for reason in result["reasons"])


@pytest.mark.parametrize(
    ("weights", "loss", "told"), [("full", 0.02, True), ("full", 0.0, False), ("lora", 0.02, False)]
)
def test_a_loss_that_keeps_experts_evenly_used_and_is_left_out_is_said_where_routers_are_trained(
    home: Workspace, tmp_path: Path, weights: str, loss: float, told: bool
) -> None:
    folder = tiny_folder(tmp_path)
    config = MixtralConfig(
        vocab_size=259, router_aux_loss_coef=loss, num_local_experts=4, num_key_value_heads=2, **HEADS
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    job = jobs.create(home, "train", settings(home, base=str(folder), weights=weights))
    ready = set_up(prepare.prepare(job, ALONE), ALONE, lambda: False, to_train=False)
    said = [reason for reason in ready.reasons if "router_aux_loss_coef" in reason]
    assert [reason.partition(":")[0] for reason in said] == (
        ["router_aux_loss_coef 0.02 of the base's settings is no part of the loss"] if told else []
    )


def test_the_models_whose_targets_peft_renames_are_those_that_are_known() -> None:
    renamed = {
        name
        for name, pattern in conversion._MODEL_TO_CONVERSION_PATTERN.items()
        if set(conversion._MOE_TARGET_MODULE_MAPPING.get(pattern, ())) & {"gate_proj"} and name == name.lower()
    }
    assert renamed == reach.RENAMED
    assert set(conversion._MOE_TARGET_MODULE_MAPPING["qwen2_moe"]) == reach.EXPERTS
