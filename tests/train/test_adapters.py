"""Training adapters as a user meets it: what is set is what runs, and result.json says so."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import AutoTokenizer, BitsAndBytesConfig, LlamaConfig, MixtralConfig, MixtralForCausalLM

from honed.errors import ConfigError
from honed.jobs import launch
from honed.models.load import Located, load
from honed.store.workspace import Workspace
from honed.train import defaults
from tests.needs import missing
from tests.tiny import tiny_folder
from tests.train.jobs import finish, losses, settings, start


def needs_bitsandbytes() -> None:
    if importlib.util.find_spec("bitsandbytes") is None:
        missing("bitsandbytes", "bitsandbytes", by="pip")


def test_targets_scale_and_dora_are_trained_saved_and_said(home: Workspace) -> None:
    how = {"targets": ["q_proj", "layers.1.mlp.*"], "rank": 4, "rslora": True, "dora": True}
    result = finish(start(home, name="dora", weights="auto", epochs=1, lora=how))
    ran = result["ran"]
    assert (ran["weights"], ran["adapters"], ran["lora_rank"], ran["dora"]) == ("lora", 5, 4, True)
    assert ran["lora_scale"] == 16 and ran["merged_into"] == "the base"
    assert ran["trainable_parameters"] == 4 * 3 * (32 + 64) + 2 * 4 * (32 + 32) + 2 * 32 + (64 + 64 + 32)
    name, _, version = result["model"].partition("@")
    saved = json.loads((home.models / name / version / "adapter" / "adapter_config.json").read_text())
    assert (saved["r"], saved["use_rslora"], saved["use_dora"], len(saved["target_modules"])) == (4, True, True, 5)


def test_peft_finds_the_base_of_a_published_adapter_and_gives_the_published_models_logits(
    home: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = finish(start(home, name="first", epochs=0.5))["model"]
    made = finish(start(home, name="second", base=first, weights="lora", epochs=1, learning_rate=1e-2))["model"]
    monkeypatch.chdir(tmp_path)  # from anywhere
    adapter = home.models / "second" / "v1" / "adapter"
    merged, row = load(made, home).model, torch.arange(40)[None]
    with torch.no_grad():
        found = peft.AutoPeftModelForCausalLM.from_pretrained(adapter)(row).logits
        base = load(first, home).model(row).logits
        torch.testing.assert_close(found, merged(row).logits, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, base, atol=1e-2)
    alone = AutoTokenizer.from_pretrained(adapter)  # for who takes the adapter without the model
    assert alone.chat_template == load(made, home).chat.template and alone.eos_token == "<|im_end|>"


@pytest.mark.parametrize("word", ["all-linear", ["all-linear"], "all"])
def test_all_linear_layers_in_the_words_of_peft_and_llama_factory_are_the_default(home: Workspace, word: Any) -> None:
    asked = settings(home, weights="auto", lora={"targets": word}).lora
    assert asked.targets is None and asked.named


def test_other_tools_find_a_hub_model_by_its_id_and_any_other_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Located("org/name", Path("snapshots/1"), "h", "hub org/name").findable == "org/name"
    assert Located("smollm2-135m", Path("snapshots/1"), "h", "hub org/small").findable == "org/small"
    assert Located("smollm2-135m", Path("cache/1"), "h", "package").findable == str(tmp_path / "cache/1")


def test_a_target_that_the_model_does_not_have_fails_in_words(home: Workspace) -> None:
    job = start(home, name="wrong", weights="lora", lora={"targets": ["q_prj"]})
    for _ in launch.follow(job):
        pass
    status = job.status()
    assert status.state == "failed" and "'q_prj' is no linear layer" in status.message
    assert "Did you mean 'q_proj'?" in status.hint


@pytest.mark.parametrize("values", [{"dora": True}, {"rslora": True}, {"targets": ["q_proj"]}])
def test_settings_of_adapters_that_full_training_would_not_read_are_refused(
    home: Workspace, values: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match="weights: full makes none"):
        settings(home, weights="full", lora=values)


def test_4_bit_weights_are_not_divided_among_ranks_and_that_is_said_before_a_job_is_made(home: Workspace) -> None:
    with pytest.raises(ConfigError, match="4-bit weights can't be divided by fsdp: use shard none"):
        settings(home, weights="qlora", shard="fsdp", ranks=2)
    assert settings(home, weights="qlora", ranks=2).shard == "none"


def test_an_empty_list_of_targets_is_refused(home: Workspace) -> None:
    with pytest.raises(ConfigError, match=r"lora\.targets"):
        settings(home, weights="lora", lora={"targets": []})


def test_qlora_without_its_library_is_refused_before_a_job_is_made(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "find_spec", lambda _: None)
    before = len(list(home.jobs.iterdir()))
    with pytest.raises(ConfigError, match="bitsandbytes") as error:
        start(home, weights="qlora")
    assert "pip install 'honed[qlora]'" in error.value.hint
    assert len(list(home.jobs.iterdir())) == before


def test_experts_that_get_no_adapters_are_told_of(home: Workspace) -> None:
    folder = tiny_folder(home.path.parent / "experts")
    given = {**LlamaConfig.from_pretrained(folder).to_diff_dict(), "num_local_experts": 4, "sliding_window": None}
    given.pop("architectures", None)
    MixtralForCausalLM(MixtralConfig(**given)).save_pretrained(folder)
    result = finish(start(home, base=str(folder), name="experts", weights="lora", epochs=0.2))
    (said,) = [reason for reason in result["reasons"] if "tensors of experts" in reason]
    assert "without adapters" in said
    dense = finish(start(home, name="dense", weights="lora", epochs=0.2))
    assert not any("tensors of experts" in reason for reason in dense["reasons"])


def test_qlora_trains_says_what_it_was_merged_into_and_publishes_plain_weights(home: Workspace) -> None:
    needs_bitsandbytes()
    job = start(home, name="small", weights="qlora", epochs=2, learning_rate=1e-2)
    result = finish(job)
    ran, seen = result["ran"], list(losses(job).values())
    assert (ran["weights"], ran["adapters"]) == ("qlora", 14)
    assert ran["base_weights"] == "nf4, double-quantised"
    assert ran["merged_into"] == "the base as its 4-bit codes give it"
    assert sum(seen[-5:]) < sum(seen[:5])
    again = load(result["model"], home)
    assert {p.dtype for p in again.model.parameters()} == {torch.float32}
    base = load(str(home.path.parent / "tiny"), home)
    assert torch.equal(again.model.get_input_embeddings().weight, base.model.get_input_embeddings().weight)


def test_the_adapter_of_qlora_is_the_published_model_beside_the_base_in_4_bits_and_not_beside_the_plain_one(
    home: Workspace,
) -> None:
    needs_bitsandbytes()
    base = str(tiny_folder(home.path.parent / "wide", hidden=64))  # bitsandbytes misreads rows shorter than a block
    made = finish(start(home, name="four", base=base, weights="qlora", epochs=1, learning_rate=1e-2))["model"]
    published, row, adapter = load(made, home).model, torch.arange(40)[None], home.models / "four" / "v1" / "adapter"
    as_documented = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    with torch.no_grad():
        wanted = published(row).logits
        plain = peft.AutoPeftModelForCausalLM.from_pretrained(adapter)(row).logits
        beside = peft.AutoPeftModelForCausalLM.from_pretrained(adapter, quantization_config=as_documented)
        torch.testing.assert_close(beside(row).logits.float(), wanted, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(plain, wanted, atol=1e-2)


def test_preferences_under_qlora_are_measured_from_the_4_bit_base(home: Workspace) -> None:
    needs_bitsandbytes()
    job = start(home, name="small-dpo", data="liked", objective="dpo", weights="qlora", epochs=1)
    finish(job)
    assert losses(job)[1] == pytest.approx(0.6931472, abs=1e-6)
