from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier

import pytest

from honed import __version__
from honed.errors import StoreError
from honed.store import artifacts
from honed.store import workspace as workspaces
from honed.store.workspace import Workspace
from tests.store.rows import publish


def test_a_manifest_says_what_the_artifact_is_and_where_it_came_from(workspace: Workspace) -> None:
    made = publish(workspace, "desk", "weights")
    assert made.ref == "desk@v1"
    assert made.path == workspace.models / "desk" / "v1"
    manifest = artifacts.read(made.path).manifest
    assert manifest == made.manifest
    assert (manifest.parents, manifest.config, manifest.facts) == ({"base@v1": "00"}, {"seed": 1}, {"rows": 2})
    assert manifest.hash == artifacts.content_hash(made.path)
    assert manifest.honed == __version__


def test_versions_count_up_and_the_name_alone_is_the_newest(workspace: Workspace) -> None:
    assert [publish(workspace, "desk", text).ref for text in "abc"] == ["desk@v1", "desk@v2", "desk@v3"]
    assert artifacts.resolve(workspace, "models", "desk").ref == "desk@v3"
    assert artifacts.resolve(workspace, "models", "desk@v2").ref == "desk@v2"
    assert [model.ref for model in artifacts.listing(workspace, "models")] == ["desk@v1", "desk@v2", "desk@v3"]


def test_version_ten_is_newer_than_version_nine(workspace: Workspace) -> None:
    for number in range(10):
        publish(workspace, "desk", str(number))
    assert artifacts.resolve(workspace, "models", "desk").ref == "desk@v10"
    assert [model.manifest.version for model in artifacts.listing(workspace, "models")] == list(range(1, 11))


def test_content_equal_to_the_newest_is_that_version(workspace: Workspace) -> None:
    assert publish(workspace, "desk", "same").ref == publish(workspace, "desk", "same").ref == "desk@v1"
    assert publish(workspace, "desk", "other").ref == "desk@v2"
    assert publish(workspace, "desk", "same").ref == "desk@v3"


def test_two_writers_at_once_get_two_versions(workspace: Workspace) -> None:
    ready = Barrier(2)

    def write(content: str) -> str:
        with artifacts.draft(workspace, "models", "desk") as scratch:
            (scratch / "weights").write_text(content)
            ready.wait()
            return artifacts.publish(scratch, "models", parents={}, config={}, facts={}).ref

    with ThreadPoolExecutor(2) as pool:
        refs = list(pool.map(write, ["a", "b"]))
    assert sorted(refs) == ["desk@v1", "desk@v2"]
    for ref, content in zip(refs, "ab", strict=True):
        found = artifacts.resolve(workspace, "models", ref)
        assert (found.path / "weights").read_text() == content
        assert found.ref == ref


def test_a_crash_before_the_manifest_leaves_nothing(workspace: Workspace) -> None:
    with pytest.raises(RuntimeError), artifacts.draft(workspace, "models", "desk") as scratch:
        (scratch / "weights").write_text("half")
        raise RuntimeError
    assert list(workspace.models.iterdir()) == []


def test_a_scratch_folder_left_by_a_kill_is_no_version(workspace: Workspace) -> None:
    scratch = workspace.models / "desk" / ".draft-abc"
    scratch.mkdir(parents=True)
    (scratch / artifacts.MANIFEST).write_text("{}")
    assert artifacts.listing(workspace, "models") == []
    assert publish(workspace, "desk", "whole").ref == "desk@v1"


def test_the_manifest_is_written_after_all_else_and_before_the_name_is_taken(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[set[str], bool]] = []
    rename = Path.rename

    def watch(self: Path, target: Path) -> Path:
        seen.append(({path.name for path in self.iterdir()}, target.exists()))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", watch)
    publish(workspace, "desk", "whole")
    assert seen == [({"weights", "manifest.json"}, False)]


def _remove(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    path.write_text(path.read_text()[:40])


def _add(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"surprise": 1}))


@pytest.mark.parametrize("damage", [_remove, _cut, _add])
def test_a_damaged_manifest_is_named(workspace: Workspace, damage: Callable[[Path], None]) -> None:
    made = publish(workspace, "desk", "whole")
    damage(made.path / artifacts.MANIFEST)
    with pytest.raises(StoreError, match=r"desk/v1/manifest\.json: missing or damaged"):
        artifacts.resolve(workspace, "models", "desk")


@pytest.mark.parametrize(
    ("ref", "command"),
    [
        ("support.jsonl", "honed data import support.jsonl --as support;"),
        ("raw/My Rows.json.gz", "honed data import 'raw/My Rows.json.gz' --as my-rows;"),
        ("hub:org/Dolly-15k@train", "honed data import hub:org/Dolly-15k@train --as dolly-15k;"),
        ("absent.jsonl", "Known: none yet."),
    ],
)
def test_a_file_or_a_hub_dataset_in_the_place_of_a_dataset_is_told_how_it_becomes_one(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ref: str, command: str
) -> None:
    (tmp_path / "raw").mkdir()
    for name in ("support.jsonl", "raw/My Rows.json.gz"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError) as raised:
        artifacts.resolve(workspace, "datasets", ref)
    assert command in raised.value.hint
    with pytest.raises(StoreError) as raised:
        artifacts.resolve(workspace, "models", ref)
    assert "import" not in raised.value.hint


def test_a_file_that_was_imported_already_is_told_the_datasets_name(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "support.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    with artifacts.draft(workspace, "datasets", "support") as scratch:
        artifacts.publish(scratch, "datasets", parents={}, config={}, facts={})
    with pytest.raises(StoreError) as raised:
        artifacts.resolve(workspace, "datasets", "support.jsonl")
    assert raised.value.hint == "Did you mean 'support'?"


def test_an_unknown_name_names_the_nearest(workspace: Workspace) -> None:
    publish(workspace, "helpdesk", "weights")
    with pytest.raises(StoreError, match="there is no model 'helpdsk'") as raised:
        artifacts.resolve(workspace, "models", "helpdsk")
    assert raised.value.hint == "Did you mean 'helpdesk'?"
    with pytest.raises(StoreError) as raised:
        artifacts.resolve(workspace, "models", "zebra")
    assert raised.value.hint == "Known: helpdesk."
    with pytest.raises(StoreError, match="there is no dataset 'zebra'") as raised:
        artifacts.resolve(workspace, "datasets", "zebra")
    assert raised.value.hint == "Known: none yet."


@pytest.mark.parametrize("ref", ["desk@v3", "desk@3", "desk@", "desk@v01", "desk@live"])
def test_an_unknown_version_names_those_there_are(workspace: Workspace, ref: str) -> None:
    publish(workspace, "desk", "a")
    publish(workspace, "desk", "b")
    with pytest.raises(StoreError) as raised:
        artifacts.resolve(workspace, "models", ref)
    assert raised.value.hint == "Versions of desk: v1, v2."


@pytest.mark.parametrize("name", ["", "Desk", "-x", "a b", "../up", "a/b", ".hidden", "x" * 65, "desk@v1"])
def test_a_name_that_is_no_folder_name_is_refused_before_any_work(workspace: Workspace, name: str) -> None:
    with pytest.raises(StoreError, match="can't be a name"), artifacts.draft(workspace, "models", name):
        pass
    assert list(workspace.models.iterdir()) == []


def test_the_content_hash_sees_names_and_bytes_but_not_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "weights").write_text("1")
    first = artifacts.content_hash(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / artifacts.MANIFEST).write_text("anything")
    assert artifacts.content_hash(tmp_path / "b") == first
    (tmp_path / "b" / "weights").write_text("2")
    assert artifacts.content_hash(tmp_path / "b") != first
    (tmp_path / "b" / "weights").write_text("1")
    (tmp_path / "b" / "weights").rename(tmp_path / "b" / "other")
    assert artifacts.content_hash(tmp_path / "b") != first


def test_what_a_killed_process_left_of_a_draft_goes_after_a_day_and_no_living_one_does(workspace: Workspace) -> None:
    old = time.time() - 90_000
    left, alive = (workspace.models / "desk" / f".draft-{name}" for name in ("dead", "alive"))
    for folder in (left, alive):
        folder.mkdir(parents=True)
        (folder / "weights").write_text("half")
        os.utime(folder, (old, old))
    os.utime(left / "weights", (old, old))
    with artifacts.draft(workspace, "models", "desk") as one:
        assert not left.exists() and alive.exists()
        with artifacts.draft(workspace, "models", "desk") as other:
            assert one.exists() and other.exists() and one != other


def test_drafts_of_one_name_that_end_all_the_time_do_not_take_the_folder_from_one_another(workspace: Workspace) -> None:
    def write(number: int) -> None:
        with suppress(RuntimeError), artifacts.draft(workspace, "models", "desk") as scratch:
            (scratch / "weights").write_text(str(number))
            raise RuntimeError

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(300)))
    assert not list(workspace.models.glob("desk/*"))


@pytest.mark.parametrize("ref", ["../../other/models/desk", "{other}/models/desk", "../models/desk@v1"])
def test_a_name_is_never_a_path_into_another_workspace(workspace: Workspace, tmp_path: Path, ref: str) -> None:
    other = workspaces.init(tmp_path / "other")
    for one in (other, workspace):
        publish(one, "desk", "weights")
    with pytest.raises(StoreError, match="there is no model"):
        artifacts.resolve(workspace, "models", ref.format(other=other.path))
