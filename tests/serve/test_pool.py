"""The pool: what a name means, and how an alias moves while its models answer."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from honed.errors import ModelError, RequestError
from honed.serve import pool as pools
from honed.serve.pool import Pool, Served
from honed.store import aliases
from honed.store.workspace import Workspace
from tests.serve.site import WAIT, Stage, publish, serve_tiny, served, serving, tiny, until


class Models:
    """Loads stages, and remembers which."""

    def __init__(self) -> None:
        self.engines: dict[str, Stage] = {}
        self.bad: set[str] = set()

    def __call__(self, spec: str) -> Served:
        if spec in self.bad:
            raise ModelError(f"{spec}: damaged")
        ref = spec if "@" in spec else f"{spec}@v9"
        assert ref not in self.engines or self.engines[ref].closed, "loaded twice"
        self.engines[ref] = Stage()
        return served(ref, self.engines[ref])


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aliases are looked at every half a second, which each test would wait for."""
    monkeypatch.setattr(pools, "_POLL_SECONDS", 0.02)


@pytest.fixture
def models() -> Models:
    return Models()


@pytest.fixture
def desk(workspace: Workspace) -> Workspace:
    """A workspace with two versions of a model, the first of which is live."""
    publish(workspace, "desk", 1)
    publish(workspace, "desk", 2)
    aliases.move(workspace, "live", "desk@v1", why="first")
    return workspace


def test_a_model_is_found_by_alias_version_and_bare_name(desk: Workspace, models: Models) -> None:
    pool = Pool(models, desk, ["live", "desk@v1", "other"])
    assert pool.names() == [
        {"id": "live", "ref": "desk@v1", "alias": "live"},
        {"id": "desk@v1", "ref": "desk@v1"},
        {"id": "other@v9", "ref": "other@v9"},
    ]
    assert {pool.get(name).ref for name in ("live", "desk@v1", "desk")} == {"desk@v1"}
    assert pool.get("other").ref == pool.get("other@v9").ref == "other@v9"
    with pytest.raises(RequestError, match=r"desk@v2") as error:
        pool.get("desk@v2")
    assert (error.value.status, error.value.hint) == (404, "Did you mean 'desk@v1'?")
    pool.close()
    assert all(engine.closed for engine in models.engines.values())


def test_a_bare_name_means_the_newest_version_that_is_served(desk: Workspace, models: Models) -> None:
    aliases.move(desk, "live", "desk@v2", why="better")
    pool = Pool(models, desk, ["live", "desk@v1"])
    assert pool.get("desk").ref == "desk@v2"
    pool.close()


def test_aliases_are_followed_again_after_a_look_that_failed(
    desk: Workspace, models: Models, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pool, look, failed = Pool(models, desk, ["live"]), aliases.target, threading.Event()

    def no_handles(workspace: Workspace, name: str) -> str | None:
        if not failed.is_set():
            failed.set()
            raise OSError(24, "Too many open files")
        return look(workspace, name)

    monkeypatch.setattr(aliases, "target", no_handles)
    assert failed.wait(WAIT)
    aliases.move(desk, "live", "desk@v2", why="better")
    until(lambda: pool.get("live").ref == "desk@v2")
    assert "can't be followed now" in caplog.text
    pool.close()


def test_an_alias_that_moves_leaves_its_old_model_to_those_who_use_it(desk: Workspace, models: Models) -> None:
    pool = Pool(models, desk, ["live"])
    with pool.using("live") as old:
        aliases.move(desk, "live", "desk@v2", why="better")
        until(lambda: pool.get("live").ref == "desk@v2")
        pool._release()
        assert old.ref == "desk@v1"
        assert not models.engines["desk@v1"].closed
    until(lambda: models.engines["desk@v1"].closed)
    assert not models.engines["desk@v2"].closed
    pool.close()


def test_an_alias_that_moves_back_finds_its_model_again(desk: Workspace, models: Models) -> None:
    pool = Pool(models, desk, ["live"])
    with pool.using("live"):
        for target in ("desk@v2", "desk@v1"):
            aliases.move(desk, "live", target, why="to and fro")
            until(lambda target=target: pool.get("live").ref == target)  # type: ignore[misc]
    until(lambda: models.engines["desk@v2"].closed)
    assert not models.engines["desk@v1"].closed
    pool.close()


def test_a_model_that_cant_be_loaded_leaves_the_alias_where_it_was(
    desk: Workspace, models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    models.bad.add("desk@v2")
    pool = Pool(models, desk, ["live"])
    aliases.move(desk, "live", "desk@v2", why="better")
    until(lambda: "live stays desk@v1: desk@v2 can't be loaded" in caplog.text)
    assert pool.get("live").ref == "desk@v1"
    publish(desk, "desk", 3)
    aliases.move(desk, "live", "desk@v3", why="mended")
    until(lambda: pool.get("live").ref == "desk@v3")
    assert caplog.text.count("can't be loaded") == 1
    pool.close()


def test_a_model_that_is_not_there_is_an_error_at_the_start(desk: Workspace, models: Models) -> None:
    models.bad.add("zebra")
    with pytest.raises(ModelError, match="zebra"):
        Pool(models, desk, ["live", "zebra"])
    assert models.engines["desk@v1"].closed


def test_an_alias_that_moves_under_load_drops_no_request(desk: Workspace) -> None:
    def load(ref: str) -> Served:
        loaded = tiny(int(ref[-1]))
        loaded.ref = ref
        return serve_tiny(loaded)

    asked = {"model": "live", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 30}
    seen: list[tuple[int, str]] = []
    enough = threading.Event()

    def keep_asking(_: int) -> None:
        while not enough.is_set():
            response = site.post(asked)
            answer: dict[str, Any] = response.json()
            seen.append((response.status_code, answer.get("model", response.text)))

    with serving(desk, load, ["live"]) as site, ThreadPoolExecutor(4) as pool:
        working = [pool.submit(keep_asking, number) for number in range(4)]
        until(lambda: len(seen) > 8)
        aliases.move(desk, "live", "desk@v2", why="better")
        until(lambda: (200, "desk@v2") in seen)
        enough.set()
        for work in working:
            work.result(WAIT)
    assert set(seen) == {(200, "desk@v1"), (200, "desk@v2")}
