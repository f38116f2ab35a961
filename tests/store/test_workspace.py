from __future__ import annotations

import errno
import fcntl
import json
import os
from concurrent.futures import ThreadPoolExecutor
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


def test_threads_that_write_one_file_at_once_all_write_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: workspaces.write_whole(path, str(number) * 5000), [n % 10 for n in range(100)]))
    assert len(set(path.read_text())) == 1 and len(path.read_text()) == 5000
    assert [entry.name for entry in tmp_path.iterdir()] == ["status.json"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_workspace_that_another_user_put_above_is_taken_only_by_its_name(tmp_path: Path) -> None:
    above = workspaces.init(tmp_path)
    (tmp_path / "mine").mkdir()
    os.chown(tmp_path / workspaces.MARKER, 12345, -1)
    with pytest.raises(StoreError, match="of another user") as error:
        workspaces.find(tmp_path / "mine")
    assert f"--workspace {above.path}" in error.value.hint
    assert workspaces.find(tmp_path) == above  # the user went there
    own = workspaces.init(tmp_path / "own")
    (tmp_path / workspaces.MARKER).unlink()
    (tmp_path / workspaces.MARKER).symlink_to(own.path / workspaces.MARKER)
    os.chown(tmp_path / workspaces.MARKER, 12345, -1, follow_symlinks=False)
    with pytest.raises(StoreError, match="of another user"):
        workspaces.find(tmp_path / "mine")
    os.chown(tmp_path / "mine", 12345, -1)  # a container's root in a user's own tree
    assert workspaces.find(tmp_path / "mine") == above


def test_a_disk_without_locks_is_said_and_a_lock_that_another_holds_is_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "lock").open("w") as one, (tmp_path / "lock").open("w") as other:
        workspaces.lock(one, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            workspaces.lock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)

        def lacks(*_: object) -> None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

        monkeypatch.setattr(fcntl, "flock", lacks)
        with pytest.raises(StoreError, match="this disk has no locks") as error:
            workspaces.lock(one, fcntl.LOCK_EX)
    assert "-o flock" in error.value.hint
