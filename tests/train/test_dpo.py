"""Learning preferences as a user meets it: from the base model's own numbers to answers that are liked more."""

from __future__ import annotations

import json
import math

import pytest
import torch

from honed.errors import DataError
from honed.jobs.events import Step
from honed.models.load import load
from honed.store import artifacts, datasets
from honed.store.workspace import Workspace
from honed.train import attention, pairs
from tests.train.jobs import finish, start


def preferred(home: Workspace, model: str) -> float:
    """How many nats likelier, on average, ``model`` finds the chosen answers of ``liked`` than the rejected ones."""
    attention.register()
    loaded = load(model, home, attention=attention.FUSED)
    liked = pairs.read(artifacts.resolve(home, "datasets", "liked"), loaded.chat, loaded.context, None)
    with torch.no_grad():
        batch = pairs.collate(liked.encoded, packed=True)
        table = pairs.log_likelihoods(loaded.model, batch, fused=True)
    return float((table[:, 0] - table[:, 1]).mean())


@pytest.mark.parametrize("weights", ["full", "lora"])
def test_chosen_answers_become_likelier_than_rejected_ones(home: Workspace, weights: str) -> None:
    job = start(home, name=f"liked-{weights}", data="liked", objective="dpo", weights=weights, learning_rate=3e-3)
    result = finish(job)
    first, *_, last = (e.values for e in job.events() if isinstance(e, Step) and e.stage == "train")
    assert first["loss"] == pytest.approx(math.log(2), rel=1e-6)
    assert (first["margin"], first["accuracy"]) == (0.0, 0.5)
    assert last["loss"] < 0.5 < 0.9 < result["accuracy"]
    assert result["margin"] > 0.5
    assert preferred(home, result["model"]) > preferred(home, str(home.path.parent / "tiny")) + 5
    assert result["heldout_loss"] is not None and result["rows"] == 40
    ran = result["ran"]
    assert (ran["objective"], ran["beta"], ran["weights"]) == ("dpo", 0.1, weights)
    assert ran["reference"].endswith("computed before the first step")
    assert artifacts.resolve(home, "models", result["model"]).manifest.facts["objective"] == "dpo"


def test_pairs_that_can_not_be_used_are_left_out_counted_and_listed(home: Workspace) -> None:
    job = start(home, data="liked-in-part", objective="dpo", epochs=0.5, packing=False)
    result = finish(job)
    stored = list(datasets.preferences(artifacts.resolve(home, "datasets", "liked-in-part")))
    listed = [json.loads(line) for line in (job.path / "left_out.jsonl").read_text().splitlines()]
    assert [(one["row"], one["kind"]) for one in listed] == [(stored[12].id, "same"), (stored[13].id, "too long")]
    assert (result["rows"], result["left_out"], result["heldout_loss"]) == (12, 2, None)
    assert any("2 pairs are left out" in getattr(event, "text", "") for event in job.events())
    assert result["model"] == "tiny-liked-in-part-dpo@v1" and result["ran"]["packing"] is False
    assert "NaN" not in (job.path / "result.json").read_text()


def test_a_dataset_without_preferences_is_refused_before_a_job_is_made(home: Workspace) -> None:
    before = len(list(home.jobs.iterdir()))
    with pytest.raises(DataError, match="numbers@v1 has no preferences") as caught:
        start(home, objective="dpo")
    assert "objective sft" in caught.value.hint
    assert len(list(home.jobs.iterdir())) == before
