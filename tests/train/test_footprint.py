"""A model that can't fit is refused, and planned, by the shapes of its weights: none of them is read."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
from torch.testing._internal.distributed.fake_pg import FakeStore

from honed.cli.plan import _lines
from honed.errors import ConfigError
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.models import load as models
from honed.models.chat import Encoded
from honed.store.workspace import Workspace
from honed.train import adapters, attention, footprint, planner, prepare, run, worker
from honed.train.footprint import DoesNotFitError
from honed.train.head import MATRIX
from honed.train.lora_config import LoraConfig
from honed.train.objectives.sft import Sft
from honed.train.placement import Sharded
from honed.train.ranks import Ranks
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


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"precision": "bf16"},
        {"weights": "lora"},
        {"shard": "fsdp", "ranks": 2},
        {"shard": "fsdp", "ranks": 2, "weights": "lora", "lora": {"rank": 1}},
    ],
)
def test_the_least_is_what_a_plan_that_loaded_the_model_counts(home: Workspace, how: dict[str, Any]) -> None:
    config = settings(home, **how)
    outline = models.outline(config.base, None)
    least = footprint.held(outline, config, config.weights, "cpu", config.precision)
    counted = launch.wait(run.plan(home, config))["memory"]
    assert counted["gradients"] == least.gradients and counted["optimizer"] == least.optimizer
    assert counted["gathered"] == pytest.approx(least.gathered, rel=0.1)  # the outline has no adapters
    assert (counted["gathered"] > 0) is (config.shard == "fsdp")
    adapters = least.gradients if config.weights == "lora" else 0  # as many bytes as their gradients
    assert counted["weights"] == pytest.approx(least.weights + adapters, rel=0.01)  # and some buffers


@pytest.fixture
def two_ranks() -> Iterator[Ranks]:
    """The first of two, of which the other isn't there: nothing is sent, and all that would be has its place."""
    dist.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    yield Ranks(0, 2, "gloo")
    dist.destroy_process_group()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("weights", "precision"), [("full", "fp32"), ("full", "bf16"), ("lora", "bf16")])
def test_what_is_gathered_of_shares_takes_the_bytes_that_torch_counts(
    two_ranks: Ranks, weights: str, precision: str, tied: bool
) -> None:
    attention.register()
    model, dtype = tiny_model(hidden=128, layers=6, tied=tied).to(prepare.DTYPES[precision]), prepare.DTYPES[precision]
    model.set_attn_implementation(attention.FUSED)
    if weights == "lora":
        adapters.add(model, LoraConfig(rank=1, alpha=1.0), seed=0)
    planned = footprint.gathered(model, weights, precision)
    placed = Sharded(model.train(), two_ranks, device="cpu", compute=dtype, cpu_offload=False)
    sft, row = Sft(MATRIX), Encoded((1, 2, 3), (0.0, 1.0, 1.0))  # so short that hardly anything else is held
    tracker = FSDPMemTracker(placed._root)
    with tracker:
        placed.run(sft.sums, sft.collate([row]))["loss"].backward()
    (held,) = tracker.get_tracker_snapshot("peak").values()
    beside = ("Sharded Param", "Sharded Grad", "Total")  # what is in shares
    assert planned == pytest.approx(sum(size for name, size in held.items() if name not in beside), rel=0.1)


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
