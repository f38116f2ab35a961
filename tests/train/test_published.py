"""What a run whose weights lay in shares publishes is what one whose weights were whole does."""

from __future__ import annotations

from typing import Any

import peft
import pytest
import torch

from honed.models.load import load
from honed.store.workspace import Workspace
from tests.train.jobs import finish, start

KINDS: dict[str, dict[str, Any]] = {
    "full-bf16": {"weights": "full", "precision": "bf16"},
    "lora": {"weights": "lora", "lora": {"rank": 4}},
    "dora-bf16": {"weights": "lora", "lora": {"rank": 4, "dora": True}, "precision": "bf16"},
}


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """How far logits are from others, relative to their length."""
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("kind", KINDS)
def test_a_sharded_runs_model_and_adapter_load_and_answer_as_those_of_one_that_was_whole(
    home: Workspace, kind: str
) -> None:
    how = {"epochs": 0.25, "learning_rate": 5e-3, "warmup": 0.0, **KINDS[kind]}
    made = {shard: finish(start(home, name=f"{kind}-{shard}", shard=shard, **how)) for shard in ("none", "fsdp")}
    assert made["fsdp"]["ran"]["placement"] == "fsdp"
    row = torch.arange(40)[None]
    with torch.no_grad():
        whole, sharded = (load(made[shard]["model"], home).model(row).logits for shard in ("none", "fsdp"))
        before = load(str(home.path.parent / "tiny"), home).model(row).logits
        near = 2e-2 if "bf16" in kind else 1e-4
        assert apart(sharded, whole) < near < 2 * near < apart(before, whole)
        if KINDS[kind]["weights"] == "lora":
            adapter = home.models / f"{kind}-fsdp" / "v1" / "adapter"
            assert apart(peft.AutoPeftModelForCausalLM.from_pretrained(adapter)(row).logits, sharded) < near
