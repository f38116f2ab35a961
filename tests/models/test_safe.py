"""What a downloaded folder may not do: have other files read than its own safetensors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from honed.errors import ModelError
from honed.models import hub, load
from tests.tiny import tiny_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_folder(tmp_path / "model")


@pytest.mark.parametrize("name", ["w.bin", "../other/model-00001.safetensors", "/tmp/model.safetensors"])
@pytest.mark.parametrize("file", ["model.safetensors.index.json", "config.json"])
def test_weights_are_read_from_safetensors_of_the_folder_whatever_its_files_name(
    folder: Path, file: str, name: str
) -> None:
    said = json.loads((folder / file).read_text()) if (folder / file).exists() else {}
    named = {"weight_map": {"lm_head.weight": name}} if "index" in file else {"transformers_weights": name}
    (folder / file).write_text(json.dumps({**said, **named}))
    if "index" in file:
        (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")  # else it isn't read
    with pytest.raises(ModelError, match=r"isn't a \.safetensors file of that folder"):
        load.load(str(folder), None)


def test_a_model_and_an_adapter_in_one_folder_are_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="a model and an adapter in one folder") as error:
        load.load(str(folder), None)
    assert "without adapter_config.json" in error.value.hint


def test_a_hub_model_that_has_pickles_alone_is_refused_in_words_that_help(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "model.safetensors").unlink()
    monkeypatch.setattr(hub, "fetch", lambda *_: folder)  # as it was fetched: without them
    with pytest.raises(ModelError, match=r"the repository has no \.safetensors file") as error:
        load.locate("org/name", None)
    assert "Convert it" in error.value.hint


def test_a_revision_of_a_hub_model_is_answered_with_how_to_fetch_it() -> None:
    with pytest.raises(ModelError, match="no revision can be named") as error:
        load.locate("org/name@main", None)
    assert "--revision" in error.value.hint
