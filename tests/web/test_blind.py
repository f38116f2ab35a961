"""The blind page: a person judges by keys, what they say is kept at once, and nothing that models say is markup."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from playwright.sync_api import Page, expect

from honed.errors import ConfigError
from honed.evaluate.judge import labels
from honed.evaluate.judge.answers import Pair
from honed.evaluate.judge.ballots import Ballots
from honed.records import Message
from honed.serve import server
from honed.web.blind import make_app

MARKUP = "<img src=x onerror=\"document.title='broken in'\"><b>bold</b>"


def pairs(count: int) -> list[Pair]:
    prompt = (Message(role="system", content="Be kind."), Message(role="user", content=f"Is this bold? {MARKUP}"))
    return [
        Pair(id=str(n), prompt=(*prompt, Message(role="user", content=str(n))), tags={}, base="plain", tuned=MARKUP)
        for n in range(count)
    ]


@contextmanager
def serving(file: Path, count: int = 3, token: str | None = None) -> Iterator[str]:
    sock, url = server.listen(server.Place("127.0.0.1", 0, token))
    app = make_app(Ballots(pairs(count), file, seed=0), "Short is good.", token)
    runner = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=runner.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    while not runner.started:
        time.sleep(0.01)
    try:
        yield url
    finally:
        runner.should_exit = True
        thread.join()
        sock.close()


def test_a_person_judges_by_keys_and_every_word_is_kept(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    with serving(file) as url:
        page.goto(url)
        expect(page.get_by_text("Short is good.")).to_be_visible()
        page.get_by_label("Your name").fill("ada")
        page.keyboard.press("Enter")
        expect(page.get_by_text("0 of 3 done")).to_be_visible()
        expect(page.locator(".rival .said").filter(has_text="<b>bold</b>")).to_have_count(1)
        expect(page.locator(".rival b, #prompt b, .rival img")).to_have_count(0)
        for key, done in (("1", 1), ("t", 2)):
            page.wait_for_timeout(300)
            page.keyboard.press(key)
            expect(page.get_by_text(f"{done} of 3 done")).to_be_visible()
            assert len(labels.kept(file)) == done
        page.keyboard.press("b")
        expect(page.get_by_role("button", name="A tie")).to_have_attribute("aria-pressed", "true")
        page.wait_for_timeout(300)
        page.keyboard.press("2")
        expect(page.get_by_role("button", name="A tie")).to_have_attribute("aria-pressed", "false")
        page.wait_for_timeout(300)
        page.get_by_role("button", name="Skip").click()
        expect(page.get_by_role("heading", name="All done, thank you")).to_be_visible()
        assert page.title() != "broken in"
    left, tie, right, skipped = labels.kept(file)
    assert left.choice == left.first, "the key 1 means the left one"
    assert (tie.id, tie.choice) == (right.id, "tie")
    assert right.choice in {"base", "tuned"} - {str(right.first)}, "and 2 the right one, at second thought"
    assert skipped.choice == "skip"


def test_without_the_token_nobody_sees_or_says_anything(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    with serving(file, token="a long secret") as url:
        told = {"rater": "eve", "pair": "0", "choice": "left"}
        assert httpx.post(f"{url}/api/labels", json=told).status_code == 401
        assert httpx.get(f"{url}/api/pairs/next?rater=eve").status_code == 401
        assert httpx.get(url, headers={"accept": "text/html"}).headers["location"] == "/login"
        bearer = {"Authorization": "Bearer a long secret"}
        shown = httpx.get(f"{url}/api/pairs/next?rater=eve", headers=bearer).json()["shown"]
        assert "base" not in json.dumps({key: shown[key] for key in shown if key != "pair"}), "who said what is hidden"
        wrong = httpx.post(f"{url}/api/labels", json=told, headers=bearer)
        assert (wrong.status_code, wrong.json()["error"]["message"]) == (404, "there is no such pair. Reload the page.")
    assert not file.exists()


def test_another_address_than_loopback_asks_for_a_token() -> None:
    with pytest.raises(ConfigError, match="there is no token"):
        server.listen(server.Place("0.0.0.0", 0))
    with pytest.raises(ConfigError, match="fewer than 8"):
        server.listen(server.Place("127.0.0.1", 0, "short"))
