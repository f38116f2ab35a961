"""Workspaces with a live model and the desk's questions: one of a tiny model, one whose stages take no model."""

from __future__ import annotations

from pathlib import Path

import pytest

from honed.jobs import launch
from honed.store import aliases, artifacts
from honed.store.workspace import Workspace
from tests.rounds.desk import write_data
from tests.tiny import tiny_folder


@pytest.fixture
def quick(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The live model ``first@v1`` answers everything with ``hm``; trainings and evaluations are those of ``fakes``."""
    monkeypatch.setattr(launch, "WORKER", "tests.rounds.fakes.{stage}")
    with artifacts.draft(workspace, "models", "first") as scratch:
        (scratch / "answer.txt").write_text("hm")
        artifacts.publish(scratch, "models", parents={}, config={}, facts={})
    aliases.move(workspace, "live", "first@v1", why="the first")
    write_data(workspace)
    return workspace


@pytest.fixture
def desk(workspace: Workspace, tmp_path: Path) -> Workspace:
    """The live model ``first@v1`` is a tiny random one; the stages are the real ones."""
    tiny_folder(tmp_path / "tiny", context=256)
    with artifacts.draft(workspace, "models", "first") as scratch:
        for file in (tmp_path / "tiny").iterdir():
            file.rename(scratch / file.name)
        artifacts.publish(scratch, "models", parents={}, config={}, facts={})
    aliases.move(workspace, "live", "first@v1", why="the first")
    write_data(workspace)
    return workspace
