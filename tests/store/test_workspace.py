from __future__ import annotations

import json
from pathlib import Path

import pytest

from honed.errors import StoreError
from honed.store import workspace as workspaces
from honed.store.workspace import Workspace


def test_a_new_workspace_has_its_folders_and_is_found_from_below(tmp_path: Path) -> None:
    made = workspaces.init(tmp_path / "new" / "place")
    below = made.jobs / "some" / "depth"
    below.mkdir(parents=True)
    assert workspaces.find(below) == workspaces.open_at(made.path) == made
    assert made.datasets.is_dir() and made.models.is_dir()


def test_making_a_workspace_twice_changes_nothing(workspace: Workspace) -> None:
    (workspace.datasets / "kept").mkdir()
    assert workspaces.init(workspace.path) == workspace
    assert (workspace.datasets / "kept").is_dir()


def test_no_workspace_here_or_above_is_told_with_its_cure(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no workspace here or above") as raised:
        workspaces.find(tmp_path)
    assert "honed init" in raised.value.hint
    with pytest.raises(StoreError, match="no workspace here"):
        workspaces.open_at(tmp_path)


def test_a_workspace_of_a_newer_version_is_refused(workspace: Workspace) -> None:
    (workspace.path / workspaces.MARKER).write_text(json.dumps({"format": workspaces.FORMAT + 1}))
    for opening in (workspaces.open_at, workspaces.find, workspaces.init):
        with pytest.raises(StoreError, match="this workspace has format 2, this honed reads up to 1") as raised:
            opening(workspace.path)
        assert "Upgrade honed" in raised.value.hint


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "7", '{"format": "new"}', '{"format": null}'])
def test_a_damaged_marker_is_told_with_what_it_should_hold(workspace: Workspace, content: str) -> None:
    (workspace.path / workspaces.MARKER).write_text(content)
    with pytest.raises(StoreError, match="damaged") as raised:
        workspaces.open_at(workspace.path)
    assert '{"format": 1}' in raised.value.hint


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(StoreError, match="can't be written"):
        workspaces.init(tmp_path / "taken")


def test_writing_whole_leaves_the_old_content_or_the_new_never_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "status.json"
    workspaces.write_whole(path, "old")

    def cut(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken, pytest.raises(OSError, match="No space left"):
        broken.setattr("os.fsync", cut)
        workspaces.write_whole(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["status.json"]
    workspaces.write_whole(path, "new")
    assert path.read_text() == "new"
