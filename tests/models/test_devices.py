"""What the machine is, and what is chosen for it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from honed.errors import ModelError
from honed.jobs import limits
from honed.models import devices


def test_the_machine_is_described_for_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    machine = devices.describe(tmp_path / "new" / "folder")
    assert machine.cores >= 1
    assert machine.memory >= machine.memory_free > 0
    assert machine.disk_free > 0
    assert machine.cpu
    assert machine.torch is not None
    assert machine.torch.version == torch.__version__
    assert machine.torch.threads == torch.get_num_threads()


def test_the_machines_facts_need_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from honed.models import devices;"
        f"devices.hardware(Path({str(tmp_path)!r})); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_containers_limits_count_and_what_is_free_is_what_is_left_under_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "memory", lambda: (1_000_000, 400_000))
    monkeypatch.setattr(limits, "cores", lambda: 3)
    machine = devices.hardware(tmp_path)
    assert (machine.memory, machine.memory_free, machine.cores) == (1_000_000, 400_000, 3)


def test_where_there_is_no_limit_free_is_what_the_machine_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "memory", lambda: (limits.NO_LIMIT, limits.NO_LIMIT))
    there = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: there)
    machine = devices.hardware(tmp_path)
    assert (machine.memory, machine.memory_free) == (there.total, there.available)


@pytest.mark.parametrize(("said", "threads"), [(None, [2]), ("8", [])])
def test_torch_takes_no_more_threads_than_a_quota_pays_for_unless_the_user_said_how_many(
    monkeypatch: pytest.MonkeyPatch, said: str | None, threads: list[int]
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(limits, "cores", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    devices.limit_threads()
    assert asked == threads


def test_auto_takes_the_first_device_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.choose_device("auto") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices.choose_device("auto") == "cuda"


def test_a_device_that_is_not_here_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="sees no cuda device"):
        devices.choose_device("cuda")


def test_a_device_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ModelError, match="no device 'gpu'") as error:
        devices.choose_device("gpu")
    assert "auto, cuda, mps, cpu" in error.value.hint


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_what_is_timed_on_a_gpu_is_waited_for(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    done: list[str] = []
    for name in ("cuda", "mps"):
        monkeypatch.setattr(getattr(torch, name), "synchronize", lambda name=name: done.append(name))
    assert devices.clocked(lambda: done.append("asked for"), device) > 0
    assert done == [device, "asked for", device]  # what was on its way before isn't counted
    devices.clocked(lambda: None, "cpu")
    assert len(done) == 3


def test_the_faster_precision_is_measured_and_says_so() -> None:
    start = time.perf_counter()
    precision, why = devices.faster_precision("cpu")
    assert time.perf_counter() - start < 10  # under a second on an idle machine
    assert precision in ("fp32", "bf16")
    assert "fp32" in why and "bf16" in why and "GFLOP/s" in why


@pytest.mark.parametrize(("bf16", "chosen"), [(2.0e11, "bf16"), (1.1e11, "fp32"), (0.2e11, "fp32")])
def test_bf16_is_taken_only_if_it_is_clearly_faster(bf16: float, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_rate", lambda _, dtype: bf16 if dtype == torch.bfloat16 else 1.0e11)
    assert devices.faster_precision("cpu")[0] == chosen


def test_a_macs_gpu_is_trained_on_only_where_that_was_asked_for_and_why_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for wish, device, said in (
        ("auto", "cpu", "can be wrong"),
        ("mps", "mps", "compare"),
        ("cpu", "cpu", ""),
    ):
        found, why = devices.choose_for_training(wish)
        assert found == device and said in why and bool(said) == bool(why)
    assert devices.choose_device("auto") == "mps"  # to answer


def test_a_gpu_that_torch_can_not_use_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert devices.choose_for_training("auto") == ("cpu", "")  # named, and not there
    monkeypatch.setattr(devices, "_listed", lambda: 1)
    assert (
        devices.choose_for_training("auto")[0] == "cpu"
        and "torch can't use it" in devices.choose_for_training("auto")[1]
    )
    assert devices.choose_for_training("cpu") == ("cpu", "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.choose_for_training("auto") == ("cpu", "")  # hidden by who set it
