"""The benchmark scripts start, say what they can do, and measure a toy as they would measure a model."""

from __future__ import annotations

import argparse
import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import step_profile
import train_speed
from attention_speed import pairs
from honed.models.load import load_chat
from honed.train.attention import Segments
from loss_curves import apart
from measure import data, gemm, honed_job, peer
from measure.heldout import heldout_loss
from step_profile import Clock
from tests.house.tree import ROOT
from tests.tiny import tiny_folder, tiny_model
from time_to_quality import build_split, reached

SCRIPTS = sorted(path.name for path in (ROOT / "benchmarks").glob("*.py"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_folder(tmp_path_factory.mktemp("model") / "tiny", context=8192))


def _run(script: str, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / script), *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Run a script in this process, which has loaded already what takes a new one seconds; return its exit code."""

    def run(script: str, *args: str) -> object:
        path = str(ROOT / "benchmarks" / script)
        monkeypatch.setattr(sys, "argv", [path, *args])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(path, run_name="__main__")
        return stop.value.code

    return run


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_says_what_it_can_do(
    script: str, ended: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(script, "--help") == 0
    assert "--json" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA card")
def test_without_a_cuda_card_the_gpu_benchmark_says_so(
    ended: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended("gpu_train.py") == 2
    assert "no CUDA card" in capsys.readouterr().err


def test_pairs_that_see_one_another_are_counted_along_every_line_of_a_forest() -> None:
    assert pairs(Segments((3, 2, 1, 4), (-1, 0, 1, -1))) == 6 + (3 + 2 * 3) + (1 + 5) + 10


def test_two_ways_of_training_are_compared_step_by_step() -> None:
    one = {"losses": [2.0, 1.5, 1.75], "heldout": [2.0, 1.5]}
    other = {"losses": [2.0, 1.75, 1.5], "heldout": [2.0, 1.25]}
    found = apart(one, other)
    assert found == {
        "mean": 0.0,
        "mean_absolute": pytest.approx(0.5 / 3),
        "largest": 0.25,
        "from_step_to_step": 0.375,
        "heldout": -0.25,
        "heldout_learned": 0.5,
    }


def _options(tiny: str, **more: Any) -> argparse.Namespace:
    given = {"case": "lora", "rows": 2, "data": None, "model": tiny, "batch_tokens": 512, "set": [], "repeats": 1}
    return argparse.Namespace(
        **{**given, "peer_python": None, "no_peer": True, "ways": None, "no_plain": False, **more}
    )


def test_the_speed_document_has_what_is_read_from_it(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemm, "SECONDS", 0.01)
    monkeypatch.setattr(gemm, "SQUARE", {"cpu": 64})
    options = _options(tiny, set=["precision=fp32"])  # in 16 bits the plain way, in fp32, has other losses
    document = json.loads(json.dumps(train_speed.measure(options)))
    assert {"case", "honed", "peer", "ratio", "gemm_share", "speed_of_light", "flop", "commit", "machine"} <= set(
        document
    )
    assert document["honed"]["tokens_per_second"] > 0 and document["honed"]["peak_bytes"] > 0
    assert document["honed"]["dataset_tokens"] == document["dataset_tokens"]
    assert document["plain"]["max_abs_difference"] < 1e-3
    assert document["peer"] is None and document["ratio"] is None and document["peer_missing"] == "not asked for"


def test_of_the_peers_ways_the_fastest_counts_and_ratios_are_honeds_over_its(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemm, "SECONDS", 0.01)
    monkeypatch.setattr(gemm, "SQUARE", {"cpu": 64})
    monkeypatch.setattr(peer, "interpreter", lambda _: "python")

    def took(folder: Path, *given: Any) -> dict[str, Any]:
        seconds = 10.0 if given[2].get("packing") else 20.0
        return {"seconds": seconds, "peak_bytes": 5e9, "way": given[2], "versions": {"trl": "1"}}

    monkeypatch.setattr(train_speed, "_peer", took)
    found = train_speed.measure(_options(tiny, case="sft", no_peer=False, no_plain=True, set=["precision=fp32"]))
    padded, packed, ours = found["peers"]["padded, fp32"], found["peer"], found["honed"]
    assert packed["name"].startswith("TRL 1, packed") and packed["seconds"] == 10 and padded["seconds"] == 20
    assert packed["tokens_per_second"] == 2 * padded["tokens_per_second"] == found["dataset_tokens"] / 10
    assert ours["tokens_per_second"] == pytest.approx(found["dataset_tokens"] / ours["seconds"])
    assert found["ratio"] == pytest.approx(10 / ours["seconds"])
    assert found["peak_ratio"] == ours["peak_bytes"] / 5e9
    ceiling = max(one["fp32"]["square"] for one in found["gemm"].values())
    assert found["gemm_share"] == pytest.approx(found["flop"]["computed_tokens"] / ours["seconds"] / ceiling)


@pytest.mark.parametrize("case", ["sft", "prefix", "dpo"])
def test_a_case_has_its_rows(tiny: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "find", lambda *_: None)
    chat = load_chat(tiny, None)
    built = train_speed.build_case(_options(tiny, case=case, rows=3), chat)
    assert built.source.startswith("synthetic")
    assert len(built.encoded) == (6 if case == "dpo" else 3)
    systems = {row.messages[0].content for row in built.rows if row.messages[0].role == "system"}
    assert len(systems) == (1 if case == "prefix" else 0)
    for system in systems:
        assert 280 <= len(chat.tokenizer(system)["input_ids"]) <= train_speed.SYSTEM_TOKENS


def test_synthetic_rows_all_begin_differently() -> None:
    rows = list(data.synthetic(200))
    assert len({row.messages[0].content[:12] for row in rows}) > 190


def test_rows_of_a_size_have_about_that_size(tiny: str) -> None:
    chat = load_chat(tiny, None)
    lengths = [len(chat.encode(row).ids) for row in data.sized(4, 300, lambda row: len(chat.encode(row).ids))]
    assert all(280 <= length <= 300 for length in lengths)


def test_no_way_of_the_peer_cuts_a_row() -> None:
    ways = {**peer.sft_ways([10, 1500], 2048), **peer.dpo_ways([10, 1500])}
    assert all(way["length"] >= 1500 for way in ways.values())


def test_packs_of_a_large_step_can_be_as_short_as_rows_allow_and_go_two_a_pass() -> None:
    ways = peer.sft_ways([300, 797], 8192)
    assert ways["packed, two short packs a pass"] == {"length": 832, "batch": 2, "packing": True, "accumulate": 4}
    assert "packed, two short packs a pass" not in peer.sft_ways([300, 797], 2048)


def test_bf16_is_tried_where_it_has_a_chance_and_else_said_to_be_left_out() -> None:
    ways = {"packed": {"length": 8}}
    tried, left_out = peer.in_precisions(ways, {"fp32": 1e11, "bf16": 2e11})
    assert set(tried) == {"packed, fp32", "packed, bf16"} and left_out == {}
    tried, left_out = peer.in_precisions(ways, {"fp32": 1e11, "bf16": 1e10})
    assert set(tried) == {"packed, fp32"} and set(left_out) == {"packed, bf16"}
    tried, _ = peer.in_precisions(ways, {"fp32": 1e11, "bf16": 2e11}, "lora")
    assert tried["packed, bf16 weights"] == {"length": 8, "precision": "bf16-weights"}


def test_of_two_runs_the_mean_counts_and_of_three_the_one_between() -> None:
    def run(seconds: float) -> Any:
        return SimpleNamespace(seconds=seconds, document=lambda: {"seconds": seconds, "peak_bytes": 7})

    assert train_speed._median([run(1.0), run(3.0)]) == {"seconds": 2.0, "peak_bytes": 7, "all_seconds": [1.0, 3.0]}
    assert train_speed._median([run(5.0), run(1.0), run(3.0)])["seconds"] == 3.0


def test_an_interpreter_without_the_peer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(peer.PeerError, match="can't import trl"):
        peer.interpreter(str(tmp_path / "python"))


def test_the_loss_that_both_programs_are_measured_by_is_that_of_a_hand_count() -> None:
    model = tiny_model()
    ids = [5, 6, 7, 8]
    with torch.no_grad():
        logps = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = -(logps[1, 7] + logps[2, 8]).item() / 2
    rows = [{"ids": ids, "weights": [0, 0, 0.5, 1]}]
    assert heldout_loss(model, rows) == pytest.approx(expected, rel=1e-5)


def test_held_out_rows_are_not_trained_on(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "find", lambda *_: None)
    options = argparse.Namespace(rows=40, data=None, max_length=1024)
    split = build_split(options, load_chat(tiny, None))
    assert split.heldout and not {row.id for row in split.heldout} & {row.id for row in split.train}
    assert len(split.heldout) + len(split.train) + split.left_out == 40


def test_quality_is_reached_at_the_first_measurement_that_is_good_enough() -> None:
    curve = [(0.0, 3.0), (10.0, 2.0), (20.0, 1.0), (30.0, 1.5)]
    assert reached(curve, 1.5) == 20.0
    assert reached(curve, 0.5) is None


def test_a_steps_time_is_told_by_kernel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--size", "tiny", "--device", "cpu", "--rows", "6", "--length", "128", "--step", "2"]
    monkeypatch.setattr(sys, "argv", ["step_profile.py", *given, "--set", "batch_tokens=256", "--json"])
    step_profile.main()  # that it starts alone is seen above
    document = json.loads(capsys.readouterr().out)
    assert len(document["step_seconds"]) == len(document["computed_tokens"]) == 3
    assert document["kernels"] and document["kernels"][0]["ms"] >= document["kernels"][-1]["ms"] > 0
    assert document["kernels_ms"] < 1e3 * document["step_seconds"][1]


def test_of_a_steps_time_on_a_card_what_spans_kernels_is_not_counted_beside_them() -> None:
    def event(key: str, **of: Any) -> SimpleNamespace:
        usual = {"count": 1, "device_type": torch.autograd.DeviceType.CUDA, "is_user_annotation": False}
        return SimpleNamespace(key=key, self_device_time_total=10_000.0, **{**usual, **of})

    events = [
        event("adamw_kernel"),
        event("Optimizer.step#AdamW.step", is_user_annotation=True),
        event("aten::mul", device_type=torch.autograd.DeviceType.CPU),
    ]
    profile = SimpleNamespace(key_averages=lambda: events)
    assert Clock(2, "cuda")._table(profile) == [{"ms": 10.0, "calls": 1, "kernel": "adamw_kernel"}]


def test_what_a_job_is_timed_by_leaves_the_held_out_loss_out(tiny: str, tmp_path: Path) -> None:
    rows = list(data.synthetic(4, (5, 20)))
    values = {"base": tiny, "weights": "full", "batch_tokens": 128, "eval_rows": 2, "eval_every": 1}
    run = honed_job.train(tmp_path / "ws", rows[:3], values, heldout=rows[3:])
    curve = honed_job.curve(run.job.events())
    assert len(curve) == len(run.losses) + 1
    assert curve[0][0] == 0.0 and curve[-1][0] == pytest.approx(run.seconds)
    assert run.seconds < run.wall_seconds
