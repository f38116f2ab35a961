"""Trap 21: preferences are learned without the noise of the model itself, which the base's likelihoods don't have."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    FalconConfig,
    GPT2Config,
    GPT2LMHeadModel,
    MixtralConfig,
    OPTConfig,
    PhimoeConfig,
    PreTrainedModel,
    SeedOssConfig,
)

from honed.jobs import job as jobs
from honed.store.workspace import Workspace
from honed.train import attention, noise, own_attention, prepare
from honed.train.kernels.install import install
from honed.train.ranks import ALONE
from honed.train.setup import Setup, set_up
from tests.tiny import tiny_tokenizer
from tests.train.jobs import settings

SMALL: dict[str, Any] = {
    "vocab_size": 259, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
}  # fmt: skip
GROUPED: dict[str, Any] = {**SMALL, "intermediate_size": 64, "num_key_value_heads": 2}
GPT2 = GPT2Config(vocab_size=259, n_embd=32, n_layer=2, n_head=4, n_positions=512, eos_token_id=257, pad_token_id=258)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base with dropout of 0.1 by default."""
    path = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2).save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return path


def ready(home: Workspace, base: Path, **how: Any) -> tuple[PreTrainedModel, Setup]:
    job = jobs.create(home, "train", settings(home, base=str(base), batch_tokens=600, pack_tokens=600, **how))
    run = prepare.prepare(job, ALONE)
    return run.base.model, set_up(run, ALONE, lambda: False)


def first(model: PreTrainedModel, made: Setup) -> dict[str, float]:
    """What the first step's means are, before any update and in training mode."""
    step = next(made.steps.after(0, {}))
    batches = [made.objective.collate([step.examples[index] for index in pack]) for pack in step.rows.packs]
    model.train()
    with torch.no_grad():
        sums = [made.objective.sums(model, batch) for batch in made.objective.ready(model, batches)]
    return {name: sum(float(one[name]) for one in sums) / sum(batch.weight for batch in batches) for name in sums[0]}


@pytest.mark.parametrize(("how", "loss"), [({}, math.log(2)), ({"preference": {"dpo_loss": "ipo"}}, 25.0)], ids=str)
def test_a_base_with_dropout_begins_dpo_with_no_margin_and_shares_prompts(
    home: Workspace, gpt2: Path, how: dict[str, Any], loss: float
) -> None:
    model, made = ready(home, gpt2, objective="dpo", data="liked", **how)
    means = first(model, made)
    assert means["loss"] == pytest.approx(loss, abs=1e-4) and abs(means["margin"]) < 1e-4
    assert made.layout.shared
    said = [reason for reason in made.reasons if "dropout" in reason]
    assert said == ["dropout and jitter of the base model are off: dpo compares likelihoods, which they blur"]
    assert model.config.attn_pdrop == model.config.resid_pdrop == 0.1  # as they are published


def test_a_base_with_dropout_begins_kto_at_half_of_each_answers_weight(home: Workspace, gpt2: Path) -> None:
    means = first(*ready(home, gpt2, objective="kto", data="rated"))
    assert means["loss"] == pytest.approx(0.5, abs=1e-4) and abs(means["margin"]) < 1e-4 and abs(means["kl"]) < 1e-4


def test_rows_are_learned_with_the_bases_dropout(home: Workspace, gpt2: Path) -> None:
    model, made = ready(home, gpt2, data="numbers")
    assert noise.drawn(model) and not made.layout.shared
    assert first(model, made)["loss"] != first(model, made)["loss"]
    assert not any("are off" in reason for reason in made.reasons)


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ("dpo", "answers are learned with it, and the base's likelihoods have none"),
        ("kto", "the base's likelihoods have none, nor has the point that gains are measured from"),
        ("simpo", ""),
        ("sft", ""),
    ],
)
def test_dropout_of_adapters_that_was_asked_for_stays_and_what_lacks_it_is_said(objective: str, said: str) -> None:
    assert noise.of_adapters(0.0, objective) == ()
    assert [said in reason for reason in noise.of_adapters(0.1, objective)] == [True] * bool(said)


@pytest.mark.parametrize(
    "config",
    [
        GPT2,
        OPTConfig(**SMALL, ffn_dim=64, word_embed_proj_dim=32, layerdrop=0.5),
        SeedOssConfig(**GROUPED, head_dim=8, attention_dropout=0.1, residual_dropout=0.1),
        MixtralConfig(**GROUPED, num_local_experts=4, router_jitter_noise=0.2),
    ],
    ids=lambda config: config.model_type,
)
@pytest.mark.parametrize("objective", ["dpo", "orpo", "simpo"])
def test_a_model_of_any_family_draws_nothing_where_likelihoods_are_compared(config: Any, objective: str) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    before = model.config.to_dict()
    assert noise.drawn(model) and noise.turn_off(model, "sft") == () and noise.drawn(model)
    assert noise.turn_off(model, objective) and not noise.drawn(model)
    calm = own_attention.hidden(model, None)
    assert torch.equal(own_attention.hidden(model, None, training=True), calm)
    assert model.config.to_dict() == before


def test_kernels_that_stand_aside_for_dropout_are_back_where_it_is_off() -> None:
    attention.register()
    made = SeedOssConfig(**GROUPED, head_dim=8, attention_dropout=0.1, residual_dropout=0.1)
    model = AutoModelForCausalLM.from_config(made, attn_implementation=attention.FUSED).eval()
    noise.turn_off(model, "dpo")
    assert install(model).fused.keys() >= {"rotary", "swiglu"}


def test_what_a_models_code_draws_by_its_settings_is_told() -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(FalconConfig(**SMALL, hidden_dropout=0.1))
    assert "but for what its code draws" in noise.turn_off(model, "dpo")[0] and noise.drawn(model)


def test_a_number_that_chooses_experts_without_training_too_stays() -> None:
    torch.manual_seed(0)
    made = PhimoeConfig(**GROUPED, num_local_experts=4, router_jitter_noise=0.3)
    model = AutoModelForCausalLM.from_config(made).eval()
    before = own_attention.hidden(model, None)
    assert noise.turn_off(model, "dpo") == () and noise.drawn(model)
    assert torch.equal(own_attention.hidden(model, None), before)
