"""What a full disk does: the write fails with words, and everything that was there before is intact."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from honed.errors import StoreError
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.job import Status
from honed.store import artifacts, datasets
from honed.store import workspace as workspaces
from honed.store.workspace import Workspace
from tests.jobs.counting import CountConfig
from tests.small_disk import fill
from tests.store.rows import publish, some


def _hidden(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.exists()]


def test_a_dataset_that_fills_the_disk_leaves_the_old_version_and_no_scratch(small_disk: Path) -> None:
    workspace = workspaces.init(small_disk / "workspace")
    old = datasets.write(workspace, "desk", some(40), config={}, facts={})
    fill(small_disk, leave=16384)
    with pytest.raises(StoreError, match="no space left on device") as raised:
        datasets.write(workspace, "desk", some(40000, width=20), config={}, facts={})
    assert "what was there before is intact" in raised.value.hint
    assert artifacts.resolve(workspace, "datasets", "desk") == old
    assert len(list(datasets.rows(old, "train"))) == 30
    assert artifacts.content_hash(old.path) == old.manifest.hash
    assert _hidden(workspace.path) == []


def test_a_model_on_a_full_disk_leaves_the_old_version_and_no_scratch(small_disk: Path) -> None:
    workspace = workspaces.init(small_disk / "workspace")
    old = publish(workspace, "desk", "old")
    fill(small_disk)
    with pytest.raises(StoreError, match="no space left on device"):
        publish(workspace, "desk", "new" * 100_000)
    assert artifacts.listing(workspace, "models") == [old]
    assert _hidden(workspace.path) == []


def test_a_status_on_a_full_disk_stays_the_old_one(small_disk: Path) -> None:
    workspace = workspaces.init(small_disk / "workspace")
    job = jobs.create(workspace, "counting", CountConfig())
    fill(small_disk)
    with pytest.raises(StoreError, match="no space left on device"):
        job.set_status(Status(stage="counting", state="failed", message="x" * 5000))
    assert job.status().state == "queued"
    assert _hidden(workspace.path) == []
    with pytest.raises(StoreError, match="no space left on device"):
        jobs.create(workspace, "counting", CountConfig())
    assert jobs.listing(workspace) == [job]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_manifest_that_cannot_be_written_leaves_the_old_version_and_no_scratch(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    old = publish(workspace, "desk", "old")

    def full(_: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as broken, pytest.raises(StoreError, match=os.strerror(code).lower()):
        broken.setattr("os.fsync", full)
        publish(workspace, "desk", "new")
    assert artifacts.listing(workspace, "models") == [old]
    assert _hidden(workspace.path) == []
    assert publish(workspace, "desk", "new").ref == "desk@v2"


def test_a_job_whose_resume_with_other_settings_meets_a_full_disk_keeps_its_settings(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs.create(workspace, "counting", CountConfig(steps=7))
    job.set_status(Status(stage="counting", state="failed"))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken, pytest.raises(StoreError, match="no space left on device"):
        broken.setattr("os.fsync", full)
        launch.resume(job, CountConfig(steps=3))
    assert job.settings()["steps"] == 7
