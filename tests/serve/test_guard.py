"""Who may speak to the server: this machine alone, or whoever brings the token."""

from __future__ import annotations

import logging

import httpx
import pytest

from honed.store.workspace import Workspace
from tests.serve.site import Site, Stage, stages

TOKEN = "a long secret"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:80", "127.9.9.9"])
def test_a_loopback_name_is_answered(site: Site, host: str) -> None:
    assert httpx.get(f"{site.url}/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "[", "localhost.evil:80"])
def test_a_foreign_name_is_refused(site: Site, host: str) -> None:
    response = httpx.get(f"{site.url}/health", headers={"host": host})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "foreign_host")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://["])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/feedback", "/v1/consent", "/login"])
def test_a_foreign_page_cant_write(site: Site, origin: str, path: str) -> None:
    response = site.post({}, path, origin=origin)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "foreign_origin")


def test_the_servers_own_page_may_write(site: Site) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1}
    assert site.post(body, origin=site.url).status_code == 200


def test_every_response_says_what_a_page_may_load(site: Site) -> None:
    for path in ("/", "/health", "/v1/zebra"):
        headers = httpx.get(f"{site.url}{path}").headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    foreign = httpx.get(f"{site.url}/", headers={"host": "evil.example"})
    assert "content-security-policy" in foreign.headers


def test_with_a_token_every_route_demands_it(workspace: Workspace) -> None:
    context, _ = stages(workspace, "played@v1", token=TOKEN)
    with context as site:
        for method, path in [
            ("GET", "/"),
            ("GET", "/health"),
            ("GET", "/v1/models"),
            ("POST", "/v1/chat/completions"),
            ("POST", "/v1/feedback"),
            ("GET", "/api/jobs"),
            ("GET", "/zebra"),
        ]:
            for headers in (
                {},
                {"authorization": "Bearer wrong"},
                {"authorization": TOKEN},
                {"cookie": "honed_login=x"},
            ):
                response = httpx.request(method, f"{site.url}{path}", headers=headers)
                assert response.status_code == 401
                assert response.json()["error"]["code"] == "invalid_api_key"
        good = httpx.get(f"{site.url}/v1/models", headers={"authorization": f"Bearer {TOKEN}", "host": "shop.example"})
        assert good.status_code == 200
        for host in ("[", "", "a b"):  # no name at all, but the token is right
            odd = httpx.get(f"{site.url}/zebra", headers={"authorization": f"Bearer {TOKEN}", "host": host})
            assert odd.status_code == 404


def test_a_browser_brings_the_token_through_the_form(workspace: Workspace) -> None:
    context, _ = stages(workspace, "played@v1", token=TOKEN)
    with context as site, httpx.Client(base_url=site.url, headers={"accept": "text/html"}) as browser:
        asked = browser.get("/")
        assert (asked.status_code, asked.headers["location"]) == (303, "/login")
        assert "password" in browser.get("/login").text
        assert browser.post("/login", data={"token": "wrong"}).status_code == 403
        assert browser.get("/").status_code == 303
        right = browser.post("/login", data={"token": TOKEN})
        assert right.status_code == 303
        assert "HttpOnly" in right.headers["set-cookie"]
        assert "SameSite=strict" in right.headers["set-cookie"]
        assert TOKEN not in right.headers["set-cookie"]
        assert browser.get("/").status_code == 200


def test_without_a_token_the_form_leads_to_the_chat(site: Site) -> None:
    response = httpx.get(f"{site.url}/login")
    assert (response.status_code, response.headers["location"]) == (303, "/")


def test_a_fault_of_ours_has_an_id_that_stands_in_the_log(
    played: tuple[Site, Stage], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site, _ = played

    def fail() -> None:
        raise ZeroDivisionError("a secret detail")

    monkeypatch.setattr(site.pool, "names", fail)
    with caplog.at_level(logging.ERROR):
        response = httpx.get(f"{site.url}/v1/models")
    assert response.status_code == 500
    error = response.json()["error"]
    assert error["type"] == "server_error"
    assert "secret" not in response.text
    number = error["message"].rpartition("error ")[2].rstrip(".")
    assert f"error {number}: GET /v1/models" in caplog.text
    assert "ZeroDivisionError" in caplog.text
