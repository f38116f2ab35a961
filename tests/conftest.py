"""The ground of every test: one thread a process, no hub, no workspace but its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from honed.store import workspace as workspaces
from honed.store.workspace import Workspace

# Set before anything loads torch or huggingface_hub, and inherited by the workers that tests start.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("HONED_WORKSPACE", None)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    return workspaces.init(tmp_path / "workspace")
