"""``honed serve`` as a process: killed under load, ended by Ctrl-C, refused at the start."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from typing import Any

import httpx
import pytest

from honed.cli import main
from honed.records import Interaction
from honed.store.database import open_database
from honed.store.interactions import Interactions
from honed.store.workspace import Workspace
from tests.serve.process import honed_serve
from tests.serve.site import WAIT, publish, until


class Load:
    """Clients that ask and rate without pause, and remember what the server acknowledged."""

    def __init__(self, url: str) -> None:
        self.answers: dict[str, str] = {}
        self.thumbs: set[str] = set()
        self._url = url
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(6)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(WAIT)
            assert not thread.is_alive()

    def _run(self, number: int) -> None:
        turn = 0
        with httpx.Client(base_url=self._url, timeout=WAIT) as client:
            try:
                while True:
                    turn += 1
                    self._ask(client, f"{number}: {turn}", stream=bool((number + turn) % 2))
            except httpx.TransportError:
                return  # the server is gone

    def _ask(self, client: httpx.Client, text: str, *, stream: bool) -> None:
        asked = {"model": "tiny", "messages": [{"role": "user", "content": text}], "max_tokens": 12, "stream": stream}
        response = client.post("/v1/chat/completions", json=asked)
        assert response.status_code == 200, response.text
        if stream:
            chunks = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
            answer = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
            ours = chunks[-1]["honed"]
        else:
            answer = response.json()["choices"][0]["message"]["content"]
            ours = response.json()["honed"]
        self.answers[ours["interaction"]] = answer
        given = client.post("/v1/feedback", json={"token": ours["feedback_token"], "kind": "thumb", "good": True})
        assert given.status_code == 201, given.text
        self.thumbs.add(given.json()["id"])


def stored(workspace: Workspace) -> tuple[dict[str, Interaction], set[str]]:
    with closing(open_database(workspace)) as database:
        store = Interactions(database)
        return {one.id: one for one in store.interactions()}, {one.id for one in store.feedback()}


def test_a_kill_under_load_loses_nothing_that_was_acknowledged(workspace: Workspace) -> None:
    publish(workspace)
    acknowledged: dict[str, str] = {}
    thumbs: set[str] = set()
    for least in (20, 5):
        with honed_serve("tiny", "--workspace", workspace.path) as server:
            load = Load(server.url)
            until(lambda load=load, least=least: len(load.thumbs) >= least)  # type: ignore[misc]
            server.process.send_signal(signal.SIGKILL)
            load.join()
        acknowledged |= load.answers
        thumbs |= load.thumbs
        answers, feedback = stored(workspace)
        assert {id_: answers[id_].answer for id_ in acknowledged if id_ in answers} == acknowledged
        assert thumbs <= feedback
    with closing(sqlite3.connect(workspace.path / "honed.db")) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)


def test_sigterm_ends_the_server_in_order(workspace: Workspace) -> None:
    publish(workspace)
    asked: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "temperature": 2}
    with honed_serve("tiny", "--workspace", workspace.path) as server:
        answer = httpx.post(f"{server.url}/v1/chat/completions", json=asked, timeout=WAIT).json()
        with httpx.stream("GET", f"{server.url}/", timeout=WAIT) as idle:
            assert idle.status_code == 200
            server.process.send_signal(signal.SIGTERM)
            code, said = server.ended()
    assert code == 0
    assert said.splitlines()[-1] == "ended; every answer is stored"
    assert "Traceback" not in said
    assert answer["id"] in stored(workspace)[0]


def test_ctrl_c_cancels_a_long_answer_and_keeps_what_came(workspace: Workspace) -> None:
    publish(workspace, endless=True)
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "stream": True, "max_tokens": 10**9}
    with (
        honed_serve("tiny", "--workspace", workspace.path) as server,
        httpx.stream("POST", f"{server.url}/v1/chat/completions", json=asked, timeout=WAIT) as response,
    ):
        assert next(response.iter_lines()).startswith("data: ")
        server.process.send_signal(signal.SIGINT)
        code, said = server.ended()
    assert (code, "Traceback" in said) == (0, False), said
    (kept,) = stored(workspace)[0].values()
    assert kept.answer
    assert kept.finish == "cancelled"


def test_the_server_is_ready_to_start_without_torch() -> None:
    code = "import sys, honed.web.app, honed.serve.opened; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def refused(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """Run ``honed serve ARGS``, which must fail before it serves; return the two lines that say why."""
    assert main.run(["serve", *map(str, args)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 2
    return said


def test_an_address_for_others_demands_a_token(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "tiny", "--workspace", workspace.path, "--host", "0.0.0.0")
    assert "there is no token" in said
    assert "--token" in said


def test_a_port_in_use_is_said(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(capsys, "tiny", "--workspace", workspace.path, "--port", port)
    assert f"port {port}: address already in use" in said


def test_a_database_that_cant_be_written_is_said(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(open_database(workspace)):
        pass
    (workspace.path / "honed.db").chmod(0o444)
    said = refused(capsys, "tiny", "--workspace", workspace.path)
    assert "honed.db: the database is read-only" in said


def test_no_model_is_said(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert "models: this setting is required" in refused(capsys, "--workspace", workspace.path)


def test_an_unknown_model_is_said(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    publish(workspace, "desk")
    capsys.readouterr()
    said = refused(capsys, "dsk", "--workspace", workspace.path, "--port", 0)
    assert "Did you mean 'desk'?" in said


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("audience", "there is no '='"),
        ("audience=", "audience needs values"),
        ("pair=a", "'pair' can't be an attribute"),
    ],
)
def test_an_attribute_that_cant_be_one_is_said(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], given: str, words: str
) -> None:
    assert words in refused(capsys, "tiny", "--workspace", workspace.path, "--segment", given)
