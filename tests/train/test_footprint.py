"""A model that can't fit is refused, and planned, by the shapes of its weights: none of them is read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from honed.cli.plan import _lines
from honed.errors import ConfigError
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.models import load as models
from honed.store.workspace import Workspace
from honed.train import footprint, planner, prepare, run, worker
from honed.train.footprint import DoesNotFitError
from tests.tiny import tiny_folder, tiny_model
from tests.train.jobs import settings


@pytest.fixture
def small_machine(monkeypatch: pytest.MonkeyPatch) -> int:
    """A machine with so little memory that nothing may be loaded; its free bytes."""

    def load(*_: object, **__: object) -> None:
        raise AssertionError("the weights were read")

    monkeypatch.setattr(prepare.devices, "hardware", lambda _path: SimpleNamespace(memory_free=100_000))
    monkeypatch.setattr(prepare.models, "load", load)
    return 100_000


def _parameters(home: Workspace) -> int:
    return sum(p.numel() for p in models.outline(str(home.path.parent / "tiny"), None).parameters())


def test_the_plan_of_a_model_whose_weights_can_not_fit_says_so_with_the_numbers_and_loads_nothing(
    home: Workspace, small_machine: int
) -> None:
    planned = planner.work(jobs.create(home, "plan", settings(home)), lambda: False)
    memory = planned["memory"]
    assert planned["fits"] is False and planned["time"] is None and planned["rows"] is None
    assert (memory["total"], memory["free"]) == (16 * _parameters(home), small_machine)
    assert memory["optimizer"] == 2 * memory["gradients"] == 2 * memory["weights"]
    assert any("--weights lora" in way for way in planned["advice"])
    assert any("--weights qlora" in way for way in planned["advice"])  # adapters alone would not do
    text = dict(_lines(planned))
    assert "at least" in text["memory"] and "does not fit" in text["memory"] and "rows" not in text


def test_a_training_whose_weights_can_not_fit_is_refused_in_words_before_they_are_loaded(
    home: Workspace, small_machine: int
) -> None:
    job = jobs.create(home, "train", settings(home, weights="auto"))
    with pytest.raises(DoesNotFitError, match="doesn't fit: what lora training holds of its weights") as caught:
        worker.work(job, lambda: False)
    assert caught.value.free == small_machine and "--weights qlora" in caught.value.hint
    assert "smaller base model" in caught.value.hint


@pytest.mark.parametrize("tied", [True, False])
def test_an_outline_has_the_weights_of_the_model_and_holds_none(tmp_path: Any, tied: bool) -> None:
    folder = str(tiny_folder(tmp_path / "model", tied=tied))
    there, outline = models.load(folder, None).model, models.outline(folder, None)
    shapes = ({name: p.shape for name, p in model.named_parameters()} for model in (there, outline))
    assert next(shapes) == next(shapes)
    assert {p.device.type for p in outline.parameters()} == {"meta"}


@pytest.mark.parametrize("how", [{}, {"precision": "bf16"}, {"weights": "lora"}, {"shard": "fsdp", "ranks": 2}])
def test_the_least_is_what_a_plan_that_loaded_the_model_counts(home: Workspace, how: dict[str, Any]) -> None:
    config = settings(home, **how)
    outline = models.outline(config.base, None)
    least = footprint.held(outline, config, config.weights, "cpu", config.precision)
    counted = launch.wait(run.plan(home, config))["memory"]
    assert counted["gradients"] == least.gradients and counted["optimizer"] == least.optimizer
    adapters = least.gradients if config.weights == "lora" else 0  # as many bytes as their gradients
    assert counted["weights"] == pytest.approx(least.weights + adapters, rel=0.01)  # and some buffers


@pytest.mark.parametrize(
    ("how", "copies"),
    [
        ({"weights": "qlora", "precision": "fp32"}, 4),
        ({"weights": "qlora", "precision": "bf16"}, 0),  # mapped from its files as it is
        ({"shard": "fsdp", "ranks": 2, "precision": "bf16"}, 4),  # cut up in fp32
        ({"weights": "lora", "precision": "fp32"}, 0),
    ],
)
def test_a_model_that_is_whole_on_the_host_first_must_fit_there(
    home: Workspace, how: dict[str, Any], copies: int
) -> None:
    model, config = tiny_model().to(torch.bfloat16), settings(home, **how)
    size = copies * sum(p.numel() for p in model.parameters())
    assert footprint.while_loading(model, config, config.weights, config.precision) == size
    given: dict[str, Any] = {"device": "cpu", "precision": config.precision, "memory": 10**12}
    footprint.check(config, model, **given, host=size)
    if copies:
        with pytest.raises(ConfigError, match="the whole model, which each rank reads") as caught:
            footprint.check(config, model, **given, host=size - 1)
        assert ("--ranks" if config.shard == "fsdp" else "precision=bf16") in caught.value.hint
