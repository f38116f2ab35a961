"""One server over a tiny model for the module, and one that the test plays itself for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from honed.store import workspace as workspaces
from honed.store.workspace import Workspace
from tests.serve.site import Site, Stage, serve_tiny, serving, stages, tiny

SEGMENTS = {"audience": ["beginner", "expert"]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server over a real tiny model."""
    workspace = workspaces.init(tmp_path_factory.mktemp("serve"))
    with serving(workspace, lambda _: serve_tiny(tiny()), ["tiny@v3"], segments=SEGMENTS, max_tokens=40) as site:
        yield site


@pytest.fixture
def played(workspace: Workspace) -> Iterator[tuple[Site, Stage]]:
    """A server whose engine is the test itself."""
    context, engines = stages(workspace, "played@v1")
    with context as site:
        yield site, engines["played@v1"]
