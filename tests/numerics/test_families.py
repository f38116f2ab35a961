"""The loss that training computes is the model's own, whatever its family: packed, or row by row where it must be."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, PreTrainedModel

from honed.errors import ModelError
from honed.models.chat import Encoded
from honed.train import attention, layout, likelihood, loss_sweeps, prepare
from honed.train.batches import collate
from honed.train.config import TrainConfig
from honed.train.defaults import Facts, resolve
from honed.train.head import Head, find
from honed.train.kernels.install import install
from honed.train.ranks import ALONE
from tests.numerics.rows import close, packed_model

HEADS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4}
MAMBA = {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 8}
LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "first_k_dense_replace": 2,
}
GEMMA = {"num_key_value_heads": 2, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 10}
GEMMA_4 = {
    "num_key_value_heads": 2,
    "head_dim": 16,
    "num_global_key_value_heads": 1,
    "global_head_dim": 32,
    "attention_k_eq_v": True,
    "sliding_window": 10,
    "layer_types": ["sliding_attention", "full_attention"],
    "vocab_size_per_layer_input": 259,
    "hidden_size_per_layer_input": 8,
}
"""Heads of two widths."""
OWN: dict[str, dict[str, Any]] = {
    "Bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "CodeGen": {**GPT, "rotary_dim": 4},
    "Falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
    "GPTJ": {**GPT, "rotary_dim": 4},
    "GPTNeo": {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global"], 2]]},
    "Mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4},
    "XGLM": {"d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 64},
}
"""Families with attention of their own, which relies on a mask."""
MIXED: dict[str, dict[str, Any]] = {
    "FalconH1": {**HEADS, **MAMBA, "num_key_value_heads": 2},
    "Qwen3Next": {**HEADS, "num_key_value_heads": 2, "head_dim": 8, "num_experts": 0, "mlp_only_layers": [0, 1]},
}
"""Families that mix tokens in other ways too."""
PACKED: dict[str, dict[str, Any]] = {
    "Cohere": HEADS,
    "DeepseekV3": {**HEADS, "num_key_value_heads": 4, **LATENT},
    "GPT2": GPT,
    "GPTNeoX": HEADS,
    "Gemma2": {**HEADS, **GEMMA, "final_logit_softcapping": 3.0, "attn_logit_softcapping": 2.0},
    "Gemma3": {**HEADS, **GEMMA},
    "Gemma4Text": {**HEADS, **GEMMA_4},
    "GptOss": {**HEADS, "num_key_value_heads": 2, "head_dim": 8, "num_local_experts": 4, "sliding_window": 10},
    "Granite": {**HEADS, "logits_scaling": 8.0},
    "Mistral": {**HEADS, "num_key_value_heads": 2, "sliding_window": 10},
    "Mixtral": {**HEADS, "num_key_value_heads": 2, "num_local_experts": 4},
    "OPT": {**HEADS, "ffn_dim": 64, "word_embed_proj_dim": 32},
    "Olmo": {**HEADS, "clip_qkv": 0.5},
    "Phi": HEADS,
    "Qwen2": {**HEADS, "num_key_value_heads": 2},
}
NAMES = {"Gemma3": "Gemma3TextConfig"}


def made(family: str, given: dict[str, Any]) -> PreTrainedModel:
    """A tiny random model with the attention that a training would begin with."""
    name = NAMES.get(family, f"{family}Config")
    config = getattr(transformers, name)(
        vocab_size=259, pad_token_id=None, bos_token_id=None, eos_token_id=None, **given
    )
    config.initializer_range = 0.3
    torch.manual_seed(0)
    outline = AutoModelForCausalLM.from_config(config)
    attention.register()
    path = prepare._attention(outline, "cpu")
    model: PreTrainedModel = AutoModelForCausalLM.from_config(deepcopy(config), attn_implementation=path)
    model.load_state_dict(outline.state_dict())
    found = prepare._compared(model, ALONE, print)
    assert found.ours is (path is not None)
    return model.eval()


def rows() -> list[Encoded]:
    lengths, first = (9, 31, 14), torch.Generator().manual_seed(1)
    drawn = [torch.randint(0, 250, (length,), generator=first).tolist() for length in lengths]
    return [Encoded(tuple(ids), (0.0, 0.0, 0.0, *[1.0] * (len(ids) - 3))) for ids in drawn]


def _counted(path: attention.Path, calls: list[int]) -> attention.Path:
    def counting(*args: Any) -> torch.Tensor:
        calls.append(1)
        return path(*args)

    return counting


def own_loss(model: PreTrainedModel, row: Encoded) -> float:
    with torch.no_grad():
        logits = model(torch.tensor([row.ids]), use_cache=False).logits[0].float()
    losses = cross_entropy(logits[:-1], torch.tensor(row.ids[1:]), reduction="none")
    return float((losses * torch.tensor(row.weights[1:])).sum())


@pytest.mark.parametrize("family", [*OWN, *MIXED, *PACKED])
def test_the_loss_of_every_family_is_that_of_the_models_own_forward_pass(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where plain torch takes the place of a kernel, the layout says so."""
    given = {**OWN, **MIXED, **PACKED}[family]
    model = made(family, given)
    plain: PreTrainedModel = AutoModelForCausalLM.from_config(deepcopy(model.config), attn_implementation="eager")
    plain.load_state_dict(model.state_dict())
    expected = [own_loss(plain.eval(), row) for row in rows()]
    install(model)
    config = TrainConfig(base="b", data="d", epochs=1, weights="full", batch_tokens=100)
    chosen = layout.choose(model, rows(), config, resolve(config, Facts(1, 3, 54, 10**10, "cpu", "fp32", "")))
    assert chosen.packed is (family in PACKED)
    assert chosen.head.fused is (family not in ("CodeGen", "GPTJ", "Phi"))  # their heads have a bias
    packs = [pack for step in chosen.steps for pack in step.packs]
    assert len(packs) == (1 if chosen.packed else 3)
    plainly: list[int] = []
    monkeypatch.setattr(attention, "by_parts", _counted(attention.by_parts, plainly))
    with torch.no_grad():
        for pack in packs:
            batch = collate([rows()[index] for index in pack], share=chosen.shared)
            found = float(likelihood.nll(model, batch, chosen.head))
            assert found == pytest.approx(sum(expected[index] for index in pack), rel=1e-4)
    plainly.clear()
    with torch.no_grad():
        likelihood.nll(model.train(), collate(rows(), share=False), chosen.head)  # with dropout, where there is any
    layers = given.get("num_hidden_layers", given.get("n_layer"))
    if family in PACKED:
        assert chosen.by_plain == (len(plainly), layers)
    assert bool(plainly) is (family in ("DeepseekV3", "GPT2", "Gemma2", "Gemma3", "Gemma4Text", "GptOss", "Mistral"))
    said = [reason for reason in chosen.reasons if reason.startswith(f"attention by plain torch in {len(plainly)} of")]
    assert len(said) == bool(plainly)


def test_logits_of_a_head_with_a_bias_are_made_a_chunk_at_a_time_and_its_gradients_are_the_models_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loss_sweeps, "CHUNK_BYTES", 4 * 259 * 15)  # five positions, and what is made of their logits
    model = made("Phi", PACKED["Phi"])
    plain: PreTrainedModel = AutoModelForCausalLM.from_config(deepcopy(model.config), attn_implementation="eager")
    plain.load_state_dict(model.state_dict())
    head = find(model, collate(rows()[:2], share=False))
    assert head == Head("module")
    most: list[int] = []
    model.get_output_embeddings().register_forward_hook(lambda _, __, out: most.append(out.shape[-2]))
    likelihood.nll(model, collate(rows()), head).backward()
    assert len(most) == 18 and max(most) == 5  # nine chunks there and back
    for row in rows():
        logits = plain(torch.tensor([row.ids]), use_cache=False).logits[0]
        losses = cross_entropy(logits[:-1], torch.tensor(row.ids[1:]), reduction="none")
        (losses * torch.tensor(row.weights[1:])).sum().backward()
    close(*({name: p.grad for name, p in one.named_parameters() if p.grad is not None} for one in (plain, model)), 1e-4)


@pytest.mark.parametrize("family", ["Bloom", "FalconH1", "Mixtral", "Qwen2"])
def test_in_16_bits_too_rows_that_stay_apart_are_told_from_those_that_do_not(family: str) -> None:
    model = made(family, {**OWN, **MIXED, **PACKED}[family]).bfloat16()
    assert likelihood.packing_is_exact(model, collate(rows()[:2], share=False)) is (family in PACKED)


def test_a_model_that_would_see_what_it_is_to_predict_is_refused() -> None:
    model = packed_model()
    usual = model.base_model.layers[0].forward

    def looks_ahead(hidden: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        out: torch.Tensor = usual(hidden, *args, **options)
        return out + out.roll(-1, 1)

    model.base_model.layers[0].forward = looks_ahead
    with pytest.raises(ModelError, match="would see those that they are to predict"):
        likelihood.packing_is_exact(model, collate(rows()[:2]))
