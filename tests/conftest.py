"""The ground of every test: one thread a process, no hub, no workspace but its own, Ctrl-C heard."""

from __future__ import annotations

import functools
import gc
import os
import signal
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from honed.store import workspace as workspaces
from honed.store.workspace import Workspace
from tests.small_disk import mounted

# Set before anything loads torch or huggingface_hub, and inherited by the workers that tests start.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
# A card would be taken wherever a setting is left open: what these tests expect is a CPU's. Those for one ask for it.
if os.environ.get("HONED_TESTS_GPU") != "1":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
# Where workers find the tests' own stages, and python what hands them to the zygote, which pytest's processes share.
os.environ["PYTHONPATH"] = os.pathsep.join((str(Path(__file__).parents[1]), str(Path(__file__).parent / "warm")))
os.environ.setdefault("HONED_TESTS_ZYGOTE", str(Path(tempfile.gettempdir()) / f"honed-zygote-{os.getpid()}"))
os.environ.pop("HONED_WORKSPACE", None)
# Where it is set, as in some containers, each of the many processes would compile all that it imports anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Each request of httpx, which has a client to itself, would read all certificates there are anew.
ssl.create_default_context = functools.cache(ssl.create_default_context)

# A shell starts what it puts into the background with Ctrl-C ignored, which everything it starts would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Leave what all tests share out of Python's collections, each of which would walk through it."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    return workspaces.init(tmp_path / "workspace")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB, where the machine lets us mount one."""
    with mounted(tmp_path / "small") as place:
        yield place
