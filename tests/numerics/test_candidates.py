"""Our kernels take the place of a module only where they compute what it does, in training and on large numbers too."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    DeepseekV4Config,
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    Ministral3Config,
    MixtralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    SeedOssConfig,
    Starcoder2Config,
)
from transformers.models.deepseek_v4.modeling_deepseek_v4 import DeepseekV4MLP
from transformers.models.mllama.modeling_mllama import MllamaTextSelfAttention

from honed.train import attention
from honed.train.kernels import choice
from honed.train.kernels.install import install
from tests.numerics.rows import close, gradients, packed_model, uneven

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
SMALL |= {"vocab_size": 259, "num_key_value_heads": 2}
FAR = {"rope_type": "default", "rope_theta": 1e4, "llama_4_scaling_beta": 0.1, "original_max_position_embeddings": 64}


@pytest.mark.parametrize(
    ("made", "kept"),
    [
        (Starcoder2Config(residual_dropout=0.1, **SMALL), {"rotary"}),
        (SeedOssConfig(residual_dropout=0.1, head_dim=8, **SMALL), {"rotary", "swiglu"}),
        (
            Ministral3Config(head_dim=8, max_position_embeddings=256, rope_parameters=FAR, **SMALL),
            {"rotary"},
        ),
        (LlamaConfig(**SMALL), set()),
    ],
    ids=["starcoder2", "seed-oss", "ministral3", "llama"],
)
def test_a_module_that_does_more_in_training_or_far_from_the_start_keeps_its_own_code(
    made: PreTrainedConfig, kept: set[str]
) -> None:
    """Dropout of what attention and MLP give; queries scaled by their position."""
    attention.register()
    model = AutoModelForCausalLM.from_config(made, attn_implementation=attention.FUSED)
    installed = install(model.eval())
    ours = {kind for kind in ("rotary", "swiglu") if installed.fused.get(kind)}
    assert ours == {"rotary", "swiglu"} - kept - ({"swiglu"} if made.model_type == "starcoder2" else set())


@pytest.mark.parametrize("compiled", [False, True])
def test_a_model_that_shakes_a_norms_output_in_its_place_has_the_gradients_it_has_without_our_kernels(
    compiled: bool,
) -> None:
    attention.register()
    made = MixtralConfig(num_local_experts=4, router_jitter_noise=0.2, **SMALL)
    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_config(made, attn_implementation=attention.FUSED)
    fused = copy.deepcopy(plain)
    assert install(fused.eval(), compiled=compiled and choice.choose(torch.float32, "cpu")[0]).fused["rms_norm"] == 5
    found = []
    for model in (plain, fused):
        torch.manual_seed(7)
        found.append(gradients(model.train(), uneven(4), [range(4)]))
    close(*found)


def gemma() -> PreTrainedModel:
    torch.manual_seed(0)
    attention.register()
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8}
    model = GemmaForCausalLM(GemmaConfig(vocab_size=50, num_attention_heads=4, num_key_value_heads=2, **sizes))
    model.set_attn_implementation(attention.FUSED)
    return model


def test_a_norm_with_an_offset_and_an_mlp_without_silu_are_left_alone_and_said() -> None:
    model = gemma()
    said = install(model).describe()
    assert said["rms_norm"] == "0 of 5"
    assert said["swiglu"] == "0 of 2"
    assert not any("forward" in vars(module) for module in model.modules() if "Norm" in type(module).__name__)


def test_a_layer_that_differs_is_left_alone_by_itself() -> None:
    model = packed_model()
    model.model.layers[1].mlp.act_fn = nn.GELU()
    assert install(model).describe()["swiglu"] == "1 of 2"


@pytest.mark.parametrize(("limit", "ours"), [(10.0, "1 of 1"), (math.inf, "2 of 2")])
def test_an_mlp_that_clamps_what_a_probe_would_have_to_be_large_for_is_left_alone(limit: float, ours: str) -> None:
    model = packed_model()
    model.model.layers[1].mlp = DeepseekV4MLP(DeepseekV4Config(hidden_size=32, swiglu_limit=limit))
    assert install(model).describe()["swiglu"] == ours  # what can't be ours isn't tried, nor counted


@pytest.mark.parametrize(("dropout", "ours"), [(0.0, "2 of 2"), (0.1, None)])
def test_attention_that_has_another_name_for_its_dropout_trains_as_it_does_itself(
    dropout: float, ours: str | None
) -> None:
    plain = packed_model()
    plain.config.dropout = dropout  # as Mllama's and Blt's have it
    for number, layer in enumerate(plain.model.layers):
        layer.self_attn = MllamaTextSelfAttention(plain.config, number)
    fused, found = copy.deepcopy(plain.eval()), []
    assert install(fused).describe().get("rotary") == ours
    for model in (plain, fused):
        torch.manual_seed(7)
        found.append(gradients(model.train(), uneven(4), [[0], [1], [2], [3]]))
    close(*found)
