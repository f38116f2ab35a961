"""Databases for the tests: SQLite in a workspace, and a PostgreSQL server that lives as long as the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from honed.store.database import Database, open_database
from honed.store.interactions import Interactions
from honed.store.workspace import Workspace
from tests.store.postgres import Server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, workspace: Workspace) -> str:
    """The URL of an empty database, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{workspace.path / 'honed.db'}"
    server: Server = request.getfixturevalue("postgres")
    return server.empty()


@pytest.fixture
def database(workspace: Workspace, url: str) -> Iterator[Database]:
    opened = open_database(workspace, url)
    yield opened
    opened.close()


@pytest.fixture
def store(database: Database) -> Interactions:
    return Interactions(database)
