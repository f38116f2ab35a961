"""Models whose layers differ: in the widths of their heads, in whether they keep keys and values, or in having none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma3nTextConfig, Gemma4TextConfig, MambaConfig, PreTrainedConfig

from honed.errors import ModelError
from honed.models import room
from honed.models.engine import Sampling
from honed.models.load import LoadedModel
from honed.models.local import LocalEngine
from honed.models.room import rows_that_fit
from honed.models.row import make_row
from tests.models.test_local import ask, reference, tiny, unequal

USUAL: dict[str, Any] = {
    "vocab_size": 259,
    "vocab_size_per_layer_input": 259,
    "hidden_size": 32,
    "hidden_size_per_layer_input": 8,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "sliding_window": 16,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": 257,
    "pad_token_id": 258,
}
TWO: dict[str, Any] = {**USUAL, "num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"]}
FOUR: dict[str, Any] = {**USUAL, "num_hidden_layers": 4, "layer_types": 2 * TWO["layer_types"]}
GLOBAL: dict[str, Any] = {"global_head_dim": 32, "num_global_key_value_heads": 1, "attention_k_eq_v": True}
FAMILIES: dict[str, tuple[PreTrainedConfig, int]] = {
    "Gemma 4": (Gemma4TextConfig(**TWO, **GLOBAL), 2 * 8 + 1 * 32),
    "Gemma 4 E": (Gemma4TextConfig(**FOUR, **GLOBAL, num_kv_shared_layers=2), 2 * 8 + 1 * 32),
    "Gemma 3n": (Gemma3nTextConfig(**FOUR, laurel_rank=4, num_kv_shared_layers=2), 2 * (2 * 8)),
}
"""Their settings, and the numbers of the keys that their layers keep of a token."""


def made(config: PreTrainedConfig) -> LoadedModel:
    torch.manual_seed(0)
    return tiny(AutoModelForCausalLM.from_config(config).eval())


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_those_of_the_model_without_cache_or_padding(family: str) -> None:
    loaded = made(FAMILIES[family][0])
    prompts = unequal(5)
    completions = LocalEngine(loaded, 3).generate(prompts, Sampling(max_tokens=20))
    for prompt, completion in zip(prompts, completions, strict=True):
        ids = reference(loaded, prompt, 20)
        assert completion.text == loaded.chat.decode(i for i in ids if i not in loaded.chat.stop_ids)
    assert len({completion.text for completion in completions}) > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_as_many_as_memory_holds_by_the_heads_of_each_layer_that_keeps_keys_and_values(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, numbers = FAMILIES[family]
    loaded = made(config)
    rows = [make_row(loaded, prompt, Sampling(max_tokens=20)) for prompt in unequal(6)]
    each = 2 * 4 * numbers * max(len(row.ids) + 20 for row in rows)
    for free, fit in ((2 * 3 * each, 3), (2 * 3 * each - 1, 2)):
        monkeypatch.setattr(room, "_free", lambda _device, free=free: free)
        assert rows_that_fit(loaded, rows, 4) == fit


def test_a_model_without_heads_is_refused_before_rows_are_reckoned() -> None:
    loaded = made(MambaConfig(vocab_size=259, hidden_size=8, num_hidden_layers=1, state_size=4, time_step_rank=2))
    with pytest.raises(ModelError, match="models of type mamba keep another kind of state"):
        LocalEngine(loaded).generate([ask("a")], Sampling())
