"""What a plan says that a pass keeps for its backward pass is what a pass keeps, however long its rows are."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from honed.cli.plan import _lines
from honed.jobs import job as jobs
from honed.records import Conversation, Message
from honed.store import datasets
from honed.store.workspace import Workspace
from honed.train import activations, attention, cost, expected, planner
from honed.train.cost import Memory
from honed.train.prepare import Prepared, prepare
from honed.train.ranks import ALONE
from honed.train.setup import Setup, set_up
from tests.tiny import tiny_folder
from tests.train.jobs import settings

GB = 10**9
SHORTER = {
    "weights": "lora",
    "precision": "bf16",
    "packing": False,
    "largest_pass": 1000,
    "kept_if_recomputed": 16 * GB,
}

LONG = 900
"""Letters of the longest row; the others have some ten."""

SMALL = {"vocab_size": 259, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "pad_token_id": 258}
HEADS = {**SMALL, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "eos_token_id": 257}
FAMILIES: dict[str, tuple[Any, Any]] = {
    "windows": (MistralForCausalLM, MistralConfig(**HEADS, sliding_window=100)),
    "caps and windows in turn": (Gemma2ForCausalLM, Gemma2Config(**HEADS, sliding_window=300, bos_token_id=None)),
    "sinks": (GptOssForCausalLM, GptOssConfig(**HEADS, num_local_experts=4, sliding_window=100, bos_token_id=None)),
    "its own": (BloomForCausalLM, BloomConfig(**{**SMALL, "n_layer": 3, "n_head": 4, "eos_token_id": 257})),
}


@pytest.fixture(scope="module")
def far(home: Workspace) -> Workspace:
    """A workspace with many short rows and a long one."""
    ask, say = Message(role="user", content="?"), partial(Message, role="assistant")
    rows = [Conversation(messages=(ask, say(content=f"{n} is short"))) for n in range(30)]
    long = Conversation(messages=(ask, say(content="x" * LONG)))
    datasets.write(home, "far", [(row, "train") for row in (*rows, long)], config={}, facts={})
    return home


def _made(far: Workspace, family: str | None, **how: Any) -> tuple[Prepared, Setup]:
    folder = far.path.parent / f"family-{family}".replace(" ", "-")
    if not folder.exists():
        tiny_folder(folder, context=1024)
        if family is not None:
            kind, config = FAMILIES[family]
            torch.manual_seed(0)
            kind(config).save_pretrained(folder)
    asked = settings(far, base=str(folder), data="far", eval_rows=0, epochs=1, sharing=False, **how)
    run = prepare(jobs.create(far, "plan", asked), ALONE)
    return run, set_up(run, ALONE, lambda: False, to_train=False)


@pytest.mark.parametrize(
    ("family", "how"),
    [
        *((family, how) for family in FAMILIES for how in ({}, {"precision": "bf16", "weights": "lora"})),
        *((family, {"activation_checkpointing": True}) for family in ("windows", "its own")),  # one layer of like ones
    ],
)
def test_what_a_long_row_keeps_is_planned_by_passes_of_short_ones(
    far: Workspace, family: str, how: dict[str, Any]
) -> None:
    run, ready = _made(far, family, **how)
    passes = expected.expect(run, ready)
    small, long = passes.spread(2)[1], passes.make(passes.longest)
    assert small.tokens < 100 < LONG < long.tokens
    kept = activations.find(run, ready, small)
    really = activations.saved(run, ready, long)
    assert kept.of(long) == pytest.approx(really, rel=0.05)
    assert activations.saved(run, ready, small) * long.tokens / small.tokens < 0.7 * really  # more than by its tokens


def test_plain_torch_on_other_devices_keeps_what_is_planned_and_kernels_keep_no_scores(far: Workspace) -> None:
    run, ready = _made(far, None, pack_tokens=400)
    passes = expected.expect(run, ready)
    small, largest, long = passes.spread(2)[1], passes.spread(2)[0], passes.make(passes.longest)
    assert activations.find(run, ready, small).scores(long) == 0
    run.base.model.set_attn_implementation(attention.PARTS)
    kept = activations.find(run, ready, small)
    for batch in (small, largest, long):
        assert kept.of(batch) == pytest.approx(activations.saved(run, ready, batch), rel=0.05)
    assert run.base.model.config._attn_implementation == attention.PARTS


def test_of_layers_that_are_computed_again_the_one_with_the_most_scores_is_planned(far: Workspace) -> None:
    run, ready = _made(far, "caps and windows in turn")
    again, computed = _made(far, "caps and windows in turn", activation_checkpointing=True)
    passes = expected.expect(run, ready)
    long = passes.make(passes.longest)
    every = activations.find(run, ready, long).scores(long)
    most = activations.find(again, computed, long).scores(long)
    assert every / 3 < most < every / 2  # two of three have a window


def test_a_plan_counts_the_scores_of_its_longest_row_and_says_what_leaving_it_out_saves(
    far: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = _made(far, "its own")
    planned = planner.work(jobs.create(far, "plan", run.config), lambda: False)
    memory = planned["memory"]
    assert memory["scores"] > memory["activations"] > 0
    assert planned["largest_pass"] > LONG and "scores" in dict(_lines(planned))[""]
    way = cost.ways(Memory(activations=8 * GB, scores=8 * GB), GB, {**SHORTER, "longest": 1000, "row": 1000})
    assert way == [(4 * GB + 6 * GB, "leave out rows that are longer: --set max_length=500")]
