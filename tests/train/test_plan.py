"""What a plan says before a run is what the run then says of itself."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from torch import nn
from transformers import LlamaForCausalLM

from honed.cli import main, plan, progress
from honed.errors import ConfigError
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.events import Metric
from honed.jobs.job import Job
from honed.models import devices
from honed.store import artifacts, datasets
from honed.store.workspace import Workspace
from honed.train import cost, planner, ranks, run, timing
from honed.train.cost import Memory
from honed.train.optim import keep_wide
from tests.train.jobs import finish, settings, start

GB = 10**9


def _planned(home: Workspace, **how: Any) -> dict[str, Any]:
    """What a plan's job finds, in this process, and as its file gives it back."""
    found: dict[str, Any] = json.loads(json.dumps(planner.work(_job(home, **how), lambda: False)))
    return found


def _job(home: Workspace, **how: Any) -> Job:
    return jobs.create(home, "plan", settings(home, **how))


def test_fp32_weights_that_are_mapped_from_a_file_are_held_once_their_pages_are_in_the_memory_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wide, half = nn.Linear(64, 64), nn.Linear(64, 64).bfloat16()
    keep_wide(half, wide)
    numbers = 64 * 65
    run: Any = SimpleNamespace(base=SimpleNamespace(model=half), settings=SimpleNamespace(device="cpu"))

    def held(own: int) -> int:
        told = SimpleNamespace(rss=own + 500, shared=500)
        monkeypatch.setattr(psutil.Process, "memory_info", lambda _: told)
        return planner._wide_held(run)

    assert held(2 * numbers) == held(6 * numbers - 1) == 0  # those in 16 bits are, and what the file's pages hold isn't
    assert held(6 * numbers) == 4 * numbers


@pytest.mark.parametrize(
    "how",
    [
        {"data": "liked", "objective": "dpo"},
        {"data": "rated", "objective": "kto", "weights": "lora"},
        {"stream": True},
        {"ranks": 2},
        {"shard": "fsdp", "ranks": 2},
        {"shard": "fsdp", "precision": "bf16"},
        {"shard": "fsdp", "precision": "bf16", "weights": "lora"},
        {"activation_checkpointing": True, "precision": "bf16"},
        {"eval_rows": 0, "checkpoint_every": None},
    ],
)
def test_whatever_can_be_trained_can_be_planned(home: Workspace, how: dict[str, object]) -> None:
    planned = _planned(home, **how)
    assert planned["fits"] and planned["time"]["total"] > 0
    assert planned["memory"]["total"] > planned["memory"]["weights"] > 0
    assert planned["ranks"] == how.get("ranks", 1) and planned["estimated"] is False


@pytest.mark.parametrize("how", [{}, {"weights": "lora", "packing": False}])
def test_a_plan_counts_what_the_run_then_counts_and_leaves_nothing_behind(
    home: Workspace, how: dict[str, object]
) -> None:
    name = f"planned-{len(how)}"
    given = {"epochs": 2, "name": name, **how}
    planned = launch.wait(run.plan(home, settings(home, **given)))
    job = start(home, **given)
    ran = finish(job)
    measured = sum(isinstance(event, Metric) and event.name == "heldout_loss" for event in job.events())
    assert planned["heldout"] == {"rows": 4, "of": 6, "measured": measured}
    assert ran["heldout_loss"] < ran["heldout_loss_before"]
    assert not any("held-out" in reason for reason in planned["reasons"])
    for fact in ("rows", "left_out", "steps", "dataset_tokens", "computed_tokens", "supervised_tokens", "epochs"):
        assert planned[fact] == ran[fact], fact
    assert planned["ran"]["sharing"] == ran["ran"]["sharing"]
    for reason in planned["reasons"]:
        if words := re.match(r"sharing: of (\d+) tokens about (\d+) are computed", reason):
            assert int(words[1]) == ran["dataset_tokens"]
            assert int(words[2]) == pytest.approx(ran["computed_tokens"], rel=0.02)
    assert any(reason.startswith("sharing: of ") for reason in planned["reasons"]) == ran["ran"]["sharing"]
    assert planned["fits"] and planned["advice"] == []
    for memory in ("measured", "total"):  # by the total, `fits` decides
        assert planned["memory"][memory] == pytest.approx(ran["peak_rss_bytes"], rel=0.15)
    assert planned["time"]["total"] >= planned["time"]["steps"] > 0
    assert len(list((home.path / "models" / name).glob("v*"))) == 1  # the run's; the plan made none


def test_a_run_that_does_not_fit_is_counted_not_timed_and_told_what_to_change(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "_free", lambda _device, _config: 10_000_000)  # the weights would fit
    planned = planner.work(_job(home), lambda: False)
    assert planned["fits"] is False and planned["time"] is None and planned["rows"] == 24
    assert planned["memory"]["total"] > planned["memory"]["free"] == 10_000_000
    assert "or use a machine with" in planned["advice"][-1]


def test_an_hours_price_gives_the_cost_of_the_run(
    home: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"--set=train.{name}" for name in ("batch_tokens=100", "pack_tokens=60", "precision=fp32")]
    asked = [
        "plan",
        "--base",
        str(home.path.parent / "tiny"),
        "--data",
        "numbers",
        "--workspace",
        str(home.path),
        *given,
    ]
    assert main.run([*asked, "--price", "3600", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["price_per_hour"] == 3600 and told["cost"] == pytest.approx(told["time"]["total"]) and told["cost"] > 0
    done = Job(home.jobs / told["job"])
    monkeypatch.setattr(run, "plan", lambda *_: done)
    assert main.run([*asked, "--price", "3600"]) == 0
    assert " at 3600 an hour" in capsys.readouterr().out


def test_the_busiest_rank_is_that_of_the_passes_as_they_are_dealt() -> None:
    assert timing.busiest([100, 10, 10, 10], 2, "none") == [100]
    assert timing.busiest([100, 10, 10, 10], 2, "fsdp") == [100, 10]  # every rank computes in every round


def test_what_does_not_fit_is_said_with_what_to_change_the_largest_saving_first() -> None:
    memory = Memory(1 * GB, 4 * GB, 4 * GB, 8 * GB, 2 * GB, GB // 10)
    settings = {"weights": "full", "pack_tokens": 1024, "largest_pass": 1024, "precision": "fp32"}
    said = cost.advice(memory, 12 * GB, settings)
    assert "--weights lora" in said[0] and "11.4 GB" in said[0]
    assert any("pack_tokens=512" in way for way in said) and "7.1 GB more" in said[-1]
    assert cost.advice(memory, 20 * GB, settings) == []
    assert not any("weights lora" in way for way in cost.advice(memory, 12 * GB, {**settings, "weights": "lora"}))


def test_halving_a_pass_brings_to_light_the_gradients_that_took_its_place() -> None:
    memory = Memory(GB, 4 * GB, GB // 2, 8 * GB, 2 * GB, GB // 10)
    settings: dict[str, object] = {"weights": "full", "pack_tokens": 1024, "largest_pass": 1024, "precision": "fp32"}
    settings["kept_if_recomputed"] = GB // 4

    def saved(way: str, hidden: int) -> list[str]:
        return [said for said in cost.advice(memory, 12 * GB, settings, hidden) if way in said]

    assert "saves about 1.0 GB" in saved("halve a pass", 0)[0]
    assert "saves about 0.7 GB" in saved("halve a pass", int(0.3 * GB))[0]
    assert "saves about 1.4 GB" in saved("activation_checkpointing", int(0.3 * GB))[0]
    assert saved("halve a pass", 2 * GB) == saved("activation_checkpointing", 2 * GB) == []


def test_sixteen_bits_are_advised_only_where_they_save_memory_and_other_ways_only_where_they_are_open() -> None:
    full = Memory(GB, 4 * GB, 4 * GB, 8 * GB, 2 * GB, GB // 10)  # masters and wider gradients would take 6 GB more
    settings: dict[str, object] = {"weights": "full", "pack_tokens": 1024, "largest_pass": 1024, "precision": "fp32"}
    assert not any("bf16" in way for way in cost.advice(full, 12 * GB, settings))
    assert any("activation_checkpointing" in way for way in cost.advice(full, 12 * GB, settings))
    lora = Memory(GB, 4 * GB, GB // 10, GB // 5, 2 * GB, GB // 10)
    said = cost.advice(lora, 4 * GB, {**settings, "weights": "lora", "activation_checkpointing": True})
    assert any("--set precision=bf16" in way for way in said)
    assert any("--weights qlora" in way and "3.4 GB" in way for way in said)
    assert not any("activation_checkpointing" in way for way in said)


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_sixteen_bits_save_is_what_trainings_in_both_hold_the_mean_of_the_weights_included(
    average: bool, device: str
) -> None:
    held = []
    for wide, size in ((True, 4), (False, 2)):
        gradients, optimizer = cost.trained(GB, wide=wide, average=average)
        gradients = 4 * GB if device == "cpu" else gradients  # summed at once
        held.append(Memory(0, size * GB, gradients, optimizer, 10 * size * GB))
    settings = {"weights": "full", "precision": "fp32", "average": average, "device": device}
    (saved,) = [saved for saved, way in cost.ways(held[0], GB, settings) if "bf16" in way]
    assert saved == held[0].total - held[1].total


def test_layers_are_to_be_computed_again_only_where_the_model_can(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "_free", lambda _device, _config: 10_000_000)
    for can in (True, False):
        monkeypatch.setattr(LlamaForCausalLM, "supports_gradient_checkpointing", can)
        planned = planner.work(_job(home), lambda: False)
        assert any("activation_checkpointing" in way for way in planned["advice"]) is can


def test_ranks_that_each_hold_all_are_told_to_share_and_no_way_that_saves_nothing_is_named() -> None:
    settings: dict[str, object] = {"weights": "lora", "precision": "bf16", "shard": "none", "ranks": 4}
    said = cost.advice(Memory(weights=8 * GB, optimizer=GB), GB, settings)
    assert "--set shard=fsdp" in said[0] and "6.8 GB" in said[0] and "--weights qlora" in said[1] and len(said) == 3


def test_a_streamed_plan_counts_the_rows_that_are_left_out_once(home: Workspace) -> None:
    given = {"stream": True, "max_length": 50}
    planned = _planned(home, **given)
    rows = len(list(datasets.rows(artifacts.resolve(home, "datasets", "numbers"), "train")))
    assert planned["left_out"] > 0
    assert planned["rows"] + planned["left_out"] == rows and planned["estimated"] is False


@pytest.mark.parametrize(("each", "token"), [(0.5, 0.01), (0.0, 0.02)])
def test_the_pace_of_passes_is_a_line_through_those_that_were_timed(each: float, token: float) -> None:
    sizes = [100, 400, 900, 1000]
    found = cost.pace([each + token * size for size in sizes], sizes)
    assert found.seconds([50, 2000]) == pytest.approx(2 * each + token * 2050)


def test_passes_of_one_size_give_a_pace_too_and_no_part_of_it_is_negative() -> None:
    assert cost.pace([2.0, 4.0], [300, 300]).seconds([600]) == pytest.approx(6.0)
    assert cost.pace([4.0, 2.0, 1.0], [100, 200, 300]).each == 0


def test_more_ranks_than_this_machine_has_gpus_are_refused_by_the_plan_as_by_the_run(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "choose_device", lambda _: "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    said = []
    with pytest.raises(ConfigError) as caught:
        planner.work(_job(home, ranks=8), lambda: False)
    said.append((caught.value.message, caught.value.hint))
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    with pytest.raises(ConfigError) as caught, ranks.joined("cuda"):
        pass
    said.append((caught.value.message, caught.value.hint))
    assert said == [("ranks 8, and this machine has 2 GPUs", "Set ranks 2, or device cpu.")] * 2


@pytest.mark.parametrize(("on", "here", "machines"), [(None, 4, 1), ("ray", 4, 1), ("ray://there:10001", 1, 4)])
def test_ranks_divide_the_machine_that_they_are_all_on_and_a_ray_elsewhere_is_taken_to_have_one_for_each(
    home: Workspace, monkeypatch: pytest.MonkeyPatch, on: str | None, here: int, machines: int
) -> None:
    free = 40 * GB
    monkeypatch.setattr(devices, "hardware", lambda _path: SimpleNamespace(memory_free=free - GB))
    monkeypatch.setattr(planner, "_own", lambda: GB)
    planned = planner.work(_job(home, ranks=4, on=on), lambda: False)
    assert planned["memory"]["free"] == free // here and planned["machines"] == machines
    said = [reason for reason in planned["reasons"] if "machine like this one" in reason]
    assert len(said) == (machines > 1) and all("a cost is that of all" in reason for reason in said)
    priced = {**planned, "cost": 4 * 0.45, "price_per_hour": 0.45}
    assert dict(plan._lines(priced))["cost"] == "1.80 at 0.45 an hour" + " for each of 4 machines" * (machines > 1)


@pytest.mark.parametrize(
    ("rows", "of", "seconds", "said"),
    [
        (64, 1400, 5.0, "64 of 1,400 rows, measured 6 times"),
        (64, 140, 24.0, "64 of 140 rows, measured 6 times, in 24 % of the time (fewer eval_rows or a larger eval_"),
        (0, 0, 0.0, "0 of 0 rows"),
    ],
)
def test_a_plan_tells_what_is_held_out_and_what_makes_it_cheaper_where_it_takes_much_of_the_time(
    rows: int, of: int, seconds: float, said: str
) -> None:
    told = {"heldout": {"rows": rows, "of": of, "measured": 6}, "time": {"heldout": seconds, "total": 100.0}}
    ((name, text),) = plan._held_out(told)
    assert name == "held out" and text.startswith(said) and ("eval_every" in text) is (seconds > 10)
    assert plan._held_out({"heldout": None}) == []


def test_the_cost_of_a_run_is_that_of_every_machine_it_takes(
    home: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = _job(home)
    planned = planner.work(job, lambda: False)
    monkeypatch.setattr(run, "plan", lambda *_: job)  # and no second one that nobody waits for
    monkeypatch.setattr(progress, "follow", lambda _job, _as_json: {**planned, "machines": 3})
    asked = ["plan", "--base", str(home.path.parent / "tiny"), "--data", "numbers", "--workspace", str(home.path)]
    assert main.run([*asked, "--price", "3600", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["cost"] == pytest.approx(3 * planned["time"]["total"])


def test_where_the_largest_pass_is_one_long_row_shorter_rows_are_advised_and_not_a_smaller_pass() -> None:
    memory = Memory(GB, GB, GB, GB, 4 * GB, GB // 10)
    settings: dict[str, object] = {"weights": "lora", "precision": "bf16", "pack_tokens": 1024, "largest_pass": 1024}

    def ways(**how: object) -> str:
        given = {"row": how["longest"], **settings, **how}
        return "; ".join(way for way in cost.advice(memory, GB, given) if "_tokens" in way or "max_" in way)

    assert ways(longest=300) == "halve a pass: --set pack_tokens=512 (saves about 2.0 GB)"
    assert ways(longest=600) == "halve a pass: --set pack_tokens=512 (saves about 1.7 GB)"
    longer = "leave out rows that are longer: --set max_length="
    assert ways(longest=1000) == f"{longer}512 --set pack_tokens=512 (saves about 2.0 GB)"
    assert ways(longest=2048, largest_pass=2048) == f"{longer}1024 (saves about 2.0 GB)"
    assert ways(longest=2048, largest_pass=2048, row=1100) == f"{longer}550 (saves about 2.0 GB)"  # two under a prompt
    assert ways(longest=300, largest_pass=2048) == "halve a pass: --set pack_tokens=512 (saves about 2.0 GB)"  # kto
    assert ways(longest=1000, largest_pass=1000, packing=False) == f"{longer}500 (saves about 2.0 GB)"
    assert ways(longest=100, pack_tokens=8192) == "halve a pass: --set pack_tokens=512 (saves about 2.0 GB)"
