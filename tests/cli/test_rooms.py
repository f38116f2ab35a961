"""``honed init``, ``honed models`` and ``honed doctor``."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest

from honed.cli import main
from honed.models import devices, embedded
from honed.store.workspace import Workspace
from tests.store.rows import publish


@pytest.fixture(autouse=True)
def quick_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "faster_precision", lambda device: ("fp32", f"measured on {device}"))


def test_init_makes_a_workspace_and_says_what_comes_next(tmp_path: Path, capsys) -> None:
    assert main.run(["init", str(tmp_path / "desk")]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{tmp_path / 'desk'}: a new workspace\n")
    assert "honed data import" in out
    assert main.run(["init", str(tmp_path / "desk")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'desk'}: is a workspace already\n"
    assert main.run(["init", str(tmp_path / "desk"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"workspace": str(tmp_path / "desk"), "created": False}


def test_init_where_nothing_can_be_written_is_told(tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("")
    assert main.run(["init", str(tmp_path / "file" / "desk")]) == 1
    assert "can't be written" in capsys.readouterr().err


def test_models_are_listed_with_their_parents(workspace: Workspace, capsys) -> None:
    at = ["--workspace", str(workspace.path)]
    assert main.run(["models", "list", *at]) == 0
    assert "has no models yet" in capsys.readouterr().out
    made = publish(workspace, "desk", "weights")
    assert main.run(["models", "list", *at]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["desk@v1", "base@v1"]
    assert main.run(["models", "list", "--json", *at]) == 0
    assert json.loads(capsys.readouterr().out)["models"][0]["hash"] == made.manifest.hash


def test_a_model_is_shown_with_what_it_was_made_from(workspace: Workspace, capsys) -> None:
    made = publish(workspace, "desk", "weights")
    at = ["--workspace", str(workspace.path)]
    assert main.run(["models", "show", "desk", *at]) == 0
    out = capsys.readouterr().out
    for part in ("desk@v1", str(made.path), made.manifest.hash, "base@v1", "seed", "rows"):
        assert part in out, part
    assert main.run(["models", "show", "dsk", *at]) == 1
    assert "Did you mean 'desk'?" in capsys.readouterr().err


def test_doctor_finds_that_honed_runs_here(workspace: Workspace, capsys, monkeypatch) -> None:
    monkeypatch.chdir(workspace.path)
    assert main.run(["doctor"]) == 0
    out = capsys.readouterr().out
    for part in ("Python", "torch", "CPU", "memory", "full training", "/ 16 bytes", "LoRA training", "cache"):
        assert part in out, part
    assert f"{workspace.path}: " in out
    assert out.endswith("honed runs here. Try: honed demo\n")


def test_doctor_as_json_has_a_cure_for_all_that_is_to_mend(capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.run(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["able"]
    assert all(bool(finding["cure"]) == (finding["state"] != "ok") for finding in document["findings"])
    assert {"what": "workspace", "state": "mend", "text": f"{tmp_path}: no workspace here or above",
            "cure": "Make one: honed init"} in document["findings"]  # fmt: skip


def test_doctor_exits_1_where_a_library_is_missing(capsys, monkeypatch) -> None:
    version = importlib.metadata.version

    def without_scipy(name: str) -> str:
        if name == "scipy":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_scipy)
    assert main.run(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "BAD   libraries       missing: scipy" in out
    assert "pip install scipy" in out


def test_doctor_exits_1_where_torch_is_broken_or_the_cache_cannot_be_written(capsys, monkeypatch) -> None:
    def broken(_: Path) -> None:
        raise OSError("libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr(devices, "describe", broken)
    monkeypatch.setenv("HONED_CACHE", "/proc/nowhere")
    assert main.run(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "BAD   torch           can't be loaded: libcudart" in out


def test_doctor_says_what_is_slower_or_not_there(capsys, monkeypatch, workspace: Workspace) -> None:
    monkeypatch.chdir(workspace.path)
    small = devices.hardware(workspace.path).model_copy(update={"memory_free": 2 * 10**9, "disk_free": 10**8})
    monkeypatch.setattr(devices, "hardware", lambda folder: small)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("honed.models.hub.offline", lambda: False)
    monkeypatch.setattr(embedded, "hub_answers", lambda: False)
    assert main.run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "mend  GPU" in out
    assert "mend  memory" in out
    assert "mend  cache" in out
    assert "mend  workspace" in out
    assert "mend  model hub" in out
    assert "up to 88M parameters: 70% of the free memory" in out
