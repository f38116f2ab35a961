"""A cache folder of its own for every test, and the real embedded model fetched once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from honed.models import load
from honed.models.load import LoadedModel


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Tests of the real model share the user's cache; all others start with an empty one, and without the hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if "embedded_model" not in request.fixturenames:
        monkeypatch.setenv("HONED_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def embedded_model() -> LoadedModel:
    """The real ``smollm2-135m`` in float32."""
    return load.load("smollm2-135m", None)
