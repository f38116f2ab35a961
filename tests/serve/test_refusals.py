"""Whatever a client sends, it gets an error of its own in OpenAI's shape, and never a 500."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honed.serve.schema import ChatRequest, StreamOptions, Turn
from tests.serve.site import WAIT, Site

CHAT = "/v1/chat/completions"
USER = {"role": "user", "content": "hello"}
GOOD: dict[str, Any] = {"model": "tiny@v3", "messages": [USER], "max_tokens": 2}


def refused(response: httpx.Response) -> dict[str, Any]:
    """The error of a refusal, whose shape is checked."""
    assert 400 <= response.status_code < 500, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"error"}
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert error["type"]
    return dict(error)


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"max_tokens": -1}, "max_tokens", "greater than or equal to 1"),
        ({"max_tokens": 0}, "max_tokens", ""),
        ({"max_tokens": "5"}, "max_tokens", "valid integer"),
        ({"max_tokens": 5.5}, "max_tokens", "integer"),
        ({"max_tokens": True}, "max_tokens", "integer"),
        ({"max_tokens": 2**70}, "max_tokens", ""),
        ({"max_completion_tokens": 7}, "max_tokens", "disagree"),
        ({"temperature": 2.1}, "temperature", "less than or equal to 2"),
        ({"temperature": "hot"}, "temperature", "number"),
        ({"top_p": 0}, "top_p", "greater than 0"),
        ({"top_p": 1.5}, "top_p", ""),
        ({"seed": 2**63}, "seed", "less than"),
        ({"seed": 1.5}, "seed", ""),
        ({"stop": ["a"] * 5}, "stop", "at most 4"),
        ({"stop": ""}, "stop[0]", "at least 1 character"),
        ({"stop": [3]}, "stop[0]", "string"),
        ({"stream": "yes"}, "stream", "boolean"),
        ({"n": 2}, "n", "less than or equal to 1"),
        ({"tools": []}, "tools", "no such parameter"),
        ({"logprobs": True}, "logprobs", "False"),
        ({"response_format": {"type": "json_object"}}, "response_format.type", "'text'"),
        ({"frequency_penalty": 0.5}, "frequency_penalty", ""),
        ({"store": False}, "store", "no such parameter"),
        ({"model": 3}, "model", "string"),
        ({"model": ""}, "model", ""),
        ({"model": "zebra"}, "model", "Served: tiny@v3"),
        ({"messages": []}, "messages", "at least 1 item"),
        ({"messages": "hello"}, "messages", "list"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "required"),
        ({"messages": [{"role": "wizard", "content": "a"}]}, "messages[0].role", "'system', 'user' or 'assistant'"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "string"),
        ({"messages": [{**USER, "name": "ann"}]}, "messages[0].name", "no such parameter"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
            "messages[0].content",
            "only text can be read",
        ),
        ({"messages": [{"role": "user", "content": "long " * 200}]}, "messages", "context is 512"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content", "not Unicode"),
        ({"\ud800": 1}, None, "unicode"),
        ({"metadata": {"audience": "martian"}}, "metadata", "beginner, expert"),
        ({"metadata": {"colour": "red"}}, "metadata", "not declared"),
        ({"metadata": {"pair": "a b"}}, "metadata", "an id"),
        ({"metadata": {"simulated": "no"}}, "metadata", '"true"'),
        ({"metadata": {"audience": 3}}, "metadata.audience", "string"),
        ({"user": ""}, "user", ""),
    ],
)
def test_a_wrong_field_is_named_with_what_is_wrong(
    site: Site, change: dict[str, Any], param: str | None, words: str
) -> None:
    text = json.dumps({**GOOD, **change})
    error = refused(httpx.post(f"{site.url}{CHAT}", content=text, headers={"content-type": "application/json"}))
    assert error["param"] == param
    assert words in error["message"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b'"text"',
        b"\xff\xfe",
        b'{"model": NaN}',
        b"[" * 100_000,
        b'{"seed": 1' + b"0" * 9999 + b"}",
    ],
    ids=["empty", "torn", "list", "null", "number", "string", "not UTF-8", "NaN", "deep", "long number"],
)
def test_what_is_not_a_request_is_refused(site: Site, content: bytes) -> None:
    refused(
        httpx.post(f"{site.url}{CHAT}", content=content, headers={"content-type": "application/json"}, timeout=WAIT)
    )


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_only_json_is_a_request(site: Site, kind: str) -> None:
    refused(httpx.post(f"{site.url}{CHAT}", content=json.dumps(GOOD), headers={"content-type": kind}))


def test_a_body_without_end_is_cut_off(site: Site) -> None:
    head = {"content-type": "application/json"}
    assert refused(site.post({**GOOD, "user": "a" * 2**23}))["code"] == "body_too_large"
    chunks = (b" " * 2**20 for _ in range(9))
    assert refused(httpx.post(f"{site.url}{CHAT}", content=chunks, headers=head))["code"] == "body_too_large"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", CHAT), ("POST", "/v1/models"), ("GET", "/v1/zebra"), ("GET", "/v1")]
)
def test_what_is_not_a_route_is_said_in_the_same_shape(site: Site, method: str, path: str) -> None:
    response = httpx.request(method, f"{site.url}{path}")
    assert refused(response)["message"] == f"there is no {method} {path}."


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
_FIELDS = (*ChatRequest.model_fields, *Turn.model_fields, *StreamOptions.model_fields, "tools", "logit_bias")
_KEYS = st.sampled_from(_FIELDS)


@settings(max_examples=150, deadline=None)
@given(change=st.dictionaries(_KEYS, _JSON, min_size=1, max_size=3), turn=st.dictionaries(_KEYS, _JSON, max_size=2))
def test_no_request_is_ever_our_fault(site: Site, change: dict[str, Any], turn: dict[str, Any]) -> None:
    body = {**GOOD, "messages": [{**USER, **turn}], **change}
    content = json.dumps(body).encode()
    response = httpx.post(
        f"{site.url}{CHAT}", content=content, headers={"content-type": "application/json"}, timeout=WAIT
    )
    if response.status_code != 200:
        refused(response)


@settings(max_examples=60, deadline=None)
@given(body=_JSON, path=st.sampled_from([CHAT, "/v1/feedback", "/v1/consent"]))
def test_no_body_is_ever_our_fault(site: Site, body: Any, path: str) -> None:
    content = json.dumps(body).encode()
    refused(httpx.post(f"{site.url}{path}", content=content, headers={"content-type": "application/json"}))
