"""The lean decoder computes what the model's own code does, for the families it knows, and leaves others alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GemmaConfig, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

from honed.models.engine import Sampling
from honed.models.lean import LeanDecoder, lean
from honed.models.packed import PackedBatch
from honed.models.packed_forward import packed_forward
from honed.models.row import make_row
from honed.models.slots import Pass, Run, Slots, in_order
from tests.models.test_local import one_by_one, tiny, unequal

_SHAPE: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}


def model(config: Any) -> Any:
    torch.manual_seed(7)
    made = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if name.endswith("bias") or "norm" in name:
                weight.add_(0.3 * torch.randn_like(weight))
    return made


@pytest.mark.parametrize("tokens", [1, 16])
@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**_SHAPE),
        LlamaConfig(**_SHAPE, attention_bias=True, mlp_bias=True, rms_norm_eps=1e-3),
        MistralConfig(**_SHAPE, sliding_window=None),
        Qwen2Config(**_SHAPE),
        Qwen3Config(**_SHAPE, head_dim=16),
    ],
    ids=["llama", "llama with biases", "mistral", "qwen2", "qwen3"],
)
def test_its_states_are_those_of_the_models_own_code(config: Any, tokens: int) -> None:
    whole = model(config)
    ids = [list(range(40)), list(range(60, 75))]
    found = lean(whole, tokens)
    assert found is not None
    slots = Slots(2)
    with torch.inference_mode():
        first = found(Pass(slots, [Run(0, 0, ids[0][:-1]), Run(1, 0, ids[1][:-1])]))
        second = found(Pass(slots, [Run(0, 39, ids[0][-1:]), Run(1, 14, ids[1][-1:])]))
        for place, (row, start) in enumerate(zip(ids, (0, 39), strict=True)):
            own = whole.base_model(torch.tensor([row])).last_hidden_state[0]
            torch.testing.assert_close(first[start : start + len(row) - 1], own[:-1], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(second[place], own[-1], rtol=1e-4, atol=1e-4)


def test_a_model_whose_norms_are_other_ones_keeps_its_own_code() -> None:
    made = model(GemmaConfig(**_SHAPE, head_dim=8))
    assert lean(made, 8) is None


def test_a_model_that_looks_usual_but_computes_something_else_keeps_its_own_code() -> None:
    loaded = tiny()
    layer: Any = loaded.model.model.layers[0]
    layer.mlp.register_forward_hook(lambda _, __, found: 0.5 * found)
    try:
        forward = packed_forward(loaded, 4)
        assert forward is not None
        assert not forward._decoder
    finally:
        layer.mlp._forward_hooks.clear()


def test_the_tiny_model_which_is_like_the_embedded_one_is_of_the_usual_kind() -> None:
    forward = packed_forward(tiny(), 16)
    assert forward is not None
    assert forward._decoder


def test_weights_that_are_adapted_are_not_taken_for_plain_ones() -> None:
    class Adapted(torch.nn.Linear):
        """What an adapter's library puts in a linear module's place."""

    made = model(LlamaConfig(**_SHAPE))
    made.model.layers[1].self_attn.v_proj = Adapted(48, 16, bias=False)
    assert lean(made, 8) is None


def test_a_large_model_is_not_kept_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    made = model(LlamaConfig(**_SHAPE))
    monkeypatch.setattr("honed.models.lean._COPIED", 1000)
    work = [Pass(Slots(1), [Run(0, 0, list(range(9)))]) for _ in range(2)]
    with torch.inference_mode():
        once = LeanDecoder(made.base_model, 16)(work[0])
        monkeypatch.undo()
        torch.testing.assert_close(once, LeanDecoder(made.base_model, 16)(work[1]), rtol=1e-5, atol=1e-5)


def test_single_tokens_of_slots_of_any_length_with_gaps_between_attend_as_if_alone() -> None:
    loaded = tiny(context=2048)
    ends = [5, 300, 7, 9, 200, 201, 640, 3]
    ids = [[(place * 31 + at) % 250 for at in range(end)] for place, end in enumerate(ends)]
    found = lean(loaded.model, len(ends))
    assert found is not None
    slots = Slots(len(ends) + 3)
    places = [0, 1, 2, 4, 5, 6, 9, 10]
    with torch.inference_mode():
        for place, row in zip(places, ids, strict=True):
            found(Pass(slots, [Run(place, 0, row[:-1])]))
        runs = in_order([Run(place, len(row) - 1, row[-1:]) for place, row in zip(places, ids, strict=True)][::-1])
        states = found(Pass(slots, runs))
        for state, row in zip(states, ids, strict=True):
            alone = found(Pass(Slots(1), [Run(0, 0, row)]))[-1]
            torch.testing.assert_close(state, alone, rtol=1e-4, atol=1e-4)


def test_what_an_ended_row_left_in_a_slot_is_not_seen_by_those_beside_it() -> None:
    loaded = tiny(context=2048)
    forward = packed_forward(loaded, 3)
    assert forward is not None
    running = PackedBatch(loaded, forward, 3)
    prompts, sampling = unequal(14), Sampling(max_tokens=9)
    given = [make_row(loaded, prompt, sampling) for prompt in prompts]
    running.add(given)
    while not running.over:
        running.step()
    assert [row.completion for row in given] == one_by_one(loaded, prompts, sampling)
