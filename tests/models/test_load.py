"""What a user may type for a model, and each way in which that goes wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.utils import filter_repo_objects

from honed.errors import ModelError, StoreError
from honed.models import hub, load
from honed.models.chat import shipped_template
from honed.models.save import save
from honed.store import artifacts, workspace
from honed.store.workspace import Workspace
from tests.models.test_gguf import write
from tests.tiny import tiny_folder, tiny_model, tiny_tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_folder(tmp_path / "tiny")


@pytest.fixture
def place(tmp_path: Path, folder: Path) -> Workspace:
    """A workspace that holds ``helper@v1``."""
    here = workspace.init(tmp_path / "work")
    with artifacts.draft(here, "models", "helper") as scratch:
        shutil.copytree(folder, scratch, dirs_exist_ok=True)
        artifacts.publish(scratch, "models", parents={}, config={}, facts={})
    return here


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.arange(40)[None]).logits


def test_a_folder_loads_with_its_weights_chat_format_and_context(folder: Path) -> None:
    loaded = load.load(str(folder), None)
    assert torch.equal(logits(loaded.model), logits(tiny_model()))
    assert not loaded.model.training
    assert loaded.context == 512
    assert loaded.chat.stop_ids == {257}
    assert loaded.ref == str(folder)


def test_a_model_of_the_workspace_is_found_by_name_and_by_version(place: Workspace) -> None:
    newest, first = load.locate("helper", place), load.locate("helper@v1", place)
    assert newest == first
    assert newest.ref == "helper@v1"
    assert newest.hash == artifacts.resolve(place, "models", "helper").manifest.hash


def test_a_workspace_model_comes_before_a_folder_of_the_same_name(
    place: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    folder.rename(folder.parent / "helper")
    assert load.locate("helper", place).source == "workspace"
    assert load.locate("helper", None).source == "folder"


def test_an_unknown_name_names_the_nearest(place: Workspace) -> None:
    with pytest.raises(ModelError, match="there is no model 'helpr'") as error:
        load.locate("helpr", place)
    assert error.value.hint == "Did you mean 'helper'?"


def test_an_unknown_name_far_from_all_lists_what_there_is(place: Workspace) -> None:
    with pytest.raises(ModelError) as error:
        load.locate("zzz", place)
    assert "helper, smollm2-135m" in error.value.hint


def test_a_version_that_is_not_there_lists_those_that_are(place: Workspace) -> None:
    with pytest.raises(ModelError, match="there is no helper@v7") as error:
        load.locate("helper@v7", place)
    assert "v1" in error.value.hint


def test_a_version_without_a_workspace_is_an_error() -> None:
    with pytest.raises(ModelError, match="no workspace here"):
        load.locate("helper@v1", None)


def test_the_hash_follows_the_bytes_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    first = load.locate(str(folder), None).hash
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "README.md").write_text("notes")
    assert load.locate(str(copy), None).hash == first
    tiny_model(seed=1).save_pretrained(folder)
    assert load.locate(str(folder), None).hash != first


def test_a_folder_without_config_is_not_a_model(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"it has no config\.json"):
        load.load(str(folder), None)


def test_an_adapter_is_not_taken_for_a_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="an adapter, not a model"):
        load.locate(str(tmp_path), None)


def test_a_folder_without_tokenizer_says_what_to_copy(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"there is no tokenizer\.json") as error:
        load.load(str(folder), None)
    assert "base model" in error.value.hint


def test_a_damaged_tokenizer_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model"')
    with pytest.raises(ModelError, match="the tokenizer can't be read"):
        load.load_chat(str(folder), None)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.pth"])
def test_a_pickle_checkpoint_is_refused_and_never_opened(folder: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(ModelError, match=f"{name} is refused: a pickle can run code") as error:
        load.load(str(folder), None)
    assert "safetensors" in error.value.hint


def test_a_folder_without_weights_says_so(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights"):
        load.load(str(folder), None)


def test_cut_off_weights_are_an_error(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="damaged weights"):
        load.load(str(folder), None)


def test_a_missing_weight_is_an_error_not_a_random_one(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="1 weights are missing"):
        load.load(str(folder), None)


def test_weights_of_another_shape_are_an_error(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 96}))
    with pytest.raises(ModelError, match="can't be loaded"):
        load.load(str(folder), None)


def test_an_unknown_architecture_is_an_error_and_its_code_is_not_run(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    own = {"model_type": "novel", "auto_map": {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"}}
    (folder / "config.json").write_text(json.dumps(config | own))
    (folder / "code.py").write_text("raise SystemExit('run')")
    with pytest.raises(ModelError):
        load.load(str(folder), None)


def test_damaged_settings_are_named(folder: Path) -> None:
    (folder / "generation_config.json").write_text("{")
    with pytest.raises(ModelError, match=r"generation_config\.json: not JSON"):
        load.load(str(folder), None)


def test_several_stop_ids_of_the_generation_settings_are_all_kept(folder: Path) -> None:
    (folder / "generation_config.json").write_text('{"eos_token_id": [257, 258]}')
    assert load.load_chat(str(folder), None).stop_ids == {257, 258}


def test_a_model_without_a_template_gets_the_stated_default(tmp_path: Path) -> None:
    chat = load.load_chat(str(tiny_folder(tmp_path / "bare", template=None)), None)
    assert chat.template == shipped_template("plain")


def test_a_model_with_several_templates_uses_its_default_one(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "several", template=None)
    tokenizer = tiny_tokenizer()
    wanted = tokenizer.chat_template
    tokenizer.chat_template = {"default": wanted, "tool_use": "{{ tools }}"}
    tokenizer.save_pretrained(folder)
    assert load.load_chat(str(folder), None).template == wanted


@pytest.mark.parametrize("tied", [True, False])
def test_saved_and_loaded_again_logits_and_chat_hash_are_equal(tmp_path: Path, tied: bool) -> None:
    first = load.load(str(tiny_folder(tmp_path / "a", tied=tied)), None)
    save(first.model, first.chat, tmp_path / "b")
    second = load.load(str(tmp_path / "b"), None)
    assert torch.equal(logits(first.model), logits(second.model))
    assert second.chat.hash == first.chat.hash
    shared = second.model.get_input_embeddings().weight is second.model.get_output_embeddings().weight
    assert shared is tied
    assert not list((tmp_path / "b").glob("*.bin"))


def test_a_default_template_is_saved_with_the_model(tmp_path: Path) -> None:
    first = load.load(str(tiny_folder(tmp_path / "a", template=None)), None)
    save(first.model, first.chat, tmp_path / "b")
    assert (tmp_path / "b" / "chat_template.jinja").read_text() == first.chat.template
    assert load.load_chat(str(tmp_path / "b"), None).hash == first.chat.hash


def test_saving_leaves_the_model_and_its_tokenizer_as_they_were(tmp_path: Path) -> None:
    loaded = load.load(str(tiny_folder(tmp_path / "a", template=None)), None)
    before = loaded.model.generation_config
    save(loaded.model, loaded.chat, tmp_path / "b")
    assert loaded.model.generation_config is before
    assert loaded.chat.tokenizer.chat_template is None


def test_a_disk_that_fills_up_while_saving_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors import SafetensorError

    loaded = load.load(str(tiny_folder(tmp_path / "a")), None)

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(type(loaded.model), "save_pretrained", full)
    with pytest.raises(StoreError, match="no space left on device"):
        save(loaded.model, loaded.chat, tmp_path / "b")


class FakeHub:
    """Stands for ``snapshot_download``: a folder, or an error; remembers what was asked."""

    def __init__(self, answer: Path | Exception, *, in_cache: bool = False) -> None:
        self.answer, self.in_cache, self.asked = answer, in_cache, []

    def __call__(self, repo: str, **options: object) -> str:
        self.asked.append((repo, options))
        if options.get("local_files_only") and not self.in_cache:
            raise LocalEntryNotFoundError("not in the cache")
        if isinstance(self.answer, Exception):
            raise self.answer
        return str(self.answer)


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch):
    def install(answer: Path | Exception, *, in_cache: bool = False) -> FakeHub:
        fake = FakeHub(answer, in_cache=in_cache)
        monkeypatch.setattr("huggingface_hub.snapshot_download", fake)
        monkeypatch.setattr(hub, "offline", lambda: False)
        return fake

    return install


def refused(kind: type[Exception]) -> Exception:
    from unittest.mock import Mock

    return kind("no", response=Mock(headers={}, status_code=404))


def test_a_hub_model_is_fetched_without_any_pickle(folder: Path, fake_hub) -> None:
    fake = fake_hub(folder)
    said: list[str] = []
    found = load.locate("org/name", None, say=said.append)
    assert (found.ref, found.folder, found.source) == ("org/name", folder, "hub org/name")
    assert said == ["fetching org/name from the hub"]
    patterns = fake.asked[-1][1]["allow_patterns"]
    assert "*.safetensors" in patterns
    assert not any(pattern.endswith((".bin", ".pt", ".py", "*")) for pattern in patterns)


def test_a_hub_model_in_the_cache_is_used_as_it_is(folder: Path, fake_hub) -> None:
    fake = fake_hub(folder, in_cache=True)
    load.locate("org/name", None)
    assert all(options["local_files_only"] for _, options in fake.asked)


def test_a_hub_model_that_is_cached_in_part_is_fetched(folder: Path, tmp_path: Path, fake_hub) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    fake = fake_hub(folder, in_cache=True)
    load.locate("org/name", None)
    assert "local_files_only" not in fake.asked[-1][1]


def test_the_chat_format_of_a_hub_model_needs_no_weights(folder: Path, fake_hub) -> None:
    (folder / "model.safetensors").unlink()
    fake = fake_hub(folder)
    assert load.load_chat("org/name", None).stop_ids == {257}
    assert not any("safetensors" in pattern for pattern in fake.asked[-1][1]["allow_patterns"])


@pytest.mark.parametrize("there", [True, False])
def test_the_chat_format_of_a_gguf_file_in_a_folder_is_read_from_it_and_not_asked_of_the_hub(
    there: bool, folder: Path, tmp_path: Path, fake_hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = fake_hub(folder)
    monkeypatch.chdir(tmp_path)
    if there:
        (tmp_path / "models").mkdir()
        write(tmp_path / "models" / "x.gguf")
        assert load.load_chat("models/x.gguf", None).stop_ids == {257}
    else:
        with pytest.raises(ModelError, match=r"x\.gguf: no such file"):
            load.load_chat("models/x.gguf", None)
    assert not fake.asked


OTHER = ["consolidated.safetensors", "consolidated-00001-of-00002.safetensors", "model.fp16.safetensors"]


def test_the_same_weights_in_other_forms_are_not_fetched(folder: Path, fake_hub) -> None:
    fake = fake_hub(folder)
    load.locate("org/name", None)
    allowed, ignored = (fake.asked[-1][1][f"{name}_patterns"] for name in ("allow", "ignore"))
    more = ["model.fp16-00001-of-00002.safetensors", "model.bf16.safetensors", "model.safetensors.index.fp16.json"]
    kept = ["model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json", "tokenizer.json"]
    given = [*OTHER, *more, *kept]
    assert list(filter_repo_objects(given, allow_patterns=allowed, ignore_patterns=ignored)) == kept


@pytest.mark.parametrize("name", OTHER)
def test_the_same_weights_in_another_form_are_neither_hashed_nor_taken_for_the_model(
    name: str, folder: Path, fake_hub
) -> None:
    before = load.locate(str(folder), None).hash
    (folder / name).write_bytes((folder / "model.safetensors").read_bytes())
    assert load.locate(str(folder), None).hash == before
    (folder / "model.safetensors").unlink()
    fake_hub(folder, in_cache=True)
    assert hub.cached("org/name") is None


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.json", "spiece.model", None])
def test_a_hub_model_in_the_cache_is_whole_with_any_kind_of_tokenizer_and_not_without(
    name: str | None, weights: bool, folder: Path, fake_hub
) -> None:
    (folder / "tokenizer.json").unlink()
    if name:
        (folder / name).write_text("{}")
    fake_hub(folder, in_cache=True)
    assert hub.cached("org/name", weights=weights) == (folder if name else None)


def test_the_hub_turned_off_is_said_so() -> None:
    assert hub.offline()
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
        load.locate("org/name", None)


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (ConnectionError("no route"), "the hub can't be reached"),
        (refused(RepositoryNotFoundError), "no such model on the hub"),
        (refused(GatedRepoError), "asks for a login"),
    ],
)
def test_each_failure_of_the_hub_has_its_own_words(failure: Exception, words: str, fake_hub) -> None:
    fake_hub(failure)
    with pytest.raises(ModelError, match=words):
        load.locate("org/name", None)


def test_a_full_disk_is_not_taken_for_a_missing_network(fake_hub) -> None:
    fake_hub(OSError(28, "No space left on device"))
    with pytest.raises(StoreError, match="no space left"):
        load.locate("org/name", None)


def test_a_model_with_another_template_than_it_was_trained_with_is_refused_and_told_why(
    place: Workspace, folder: Path
) -> None:
    own = load.load_chat(str(folder), None).hash
    with artifacts.draft(place, "models", "tuned") as scratch:
        shutil.copytree(folder, scratch, dirs_exist_ok=True)
        artifacts.publish(scratch, "models", parents={}, config={}, facts={"template_hash": own})
    assert load.load("tuned", place).chat.hash == own
    with pytest.raises(
        ModelError, match=f"tuned@v1 was trained with another chat format .{own}. than the template"
    ) as e:
        load.load("tuned", place, template="plain")
    assert e.value.hint == "Leave the setting 'template' out."
    tokenizer = tiny_tokenizer(shipped_template("plain"))
    tokenizer.save_pretrained(artifacts.resolve(place, "models", "tuned").path)
    with pytest.raises(ModelError, match="in its folder") as e:
        load.load("tuned", place)
    assert "changed" in e.value.hint
