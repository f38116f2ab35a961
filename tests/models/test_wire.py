"""Requests as servers take them, what a reply is found by, replies of any form, and settings that make no sense."""

from __future__ import annotations

from typing import Any

import hypothesis
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from honed import config as settings
from honed.errors import ConfigError
from honed.models import wire
from honed.models.endpoint import EndpointConfig
from honed.models.engine import Sampling
from honed.models.wire import Request
from honed.records import Message, ToolCall


def _config(url: str, **update: Any) -> EndpointConfig:
    return EndpointConfig(base_url=url, model="m", **{"backoff_seconds": 0.01, "concurrency": 4, **update})


def _request(text: str, **sampling: Any) -> Request:
    return Request(messages=(Message(role="user", content=text),), sampling=Sampling(**sampling))


def test_all_that_a_reply_depends_on_is_in_its_hash() -> None:
    config = _config("http://127.0.0.1:1/v1")
    base = _request("a", temperature=1.0)
    keys = {
        wire.key(config, base),
        wire.key(config, _request("b", temperature=1.0)),
        wire.key(config, _request("a", temperature=0.5)),
        wire.key(config, _request("a", temperature=1.0, seed=1)),
        wire.key(config, _request("a", temperature=1.0, max_tokens=1)),
        wire.key(config, base.model_copy(update={"answer_schema": {"type": "object"}})),
        wire.key(_config("http://127.0.0.1:2/v1"), base),
        wire.key(config.model_copy(update={"model": "n"}), base),
        wire.key(config.model_copy(update={"extra": {"seed": None}}), base),
        wire.key(config.model_copy(update={"extra": {"seed": None}}), _request("a", temperature=1.0, seed=1)),
    }
    assert len(keys) == 10
    assert wire.key(config.model_copy(update={"concurrency": 9, "prompt_price": 3.0}), base) in keys


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"base_url": "127.0.0.1:8000"}, "is no address"),
        ({"base_url": "http://me:secret@127.0.0.1/v1"}, "use api_key_env"),
        ({"base_url": "http://127.0.0.1/v1/chat/completions"}, "leave out /chat/completions"),
        ({"prompt_price": 1.0}, "set both"),
        ({"max_cost": 1.0}, "nobody knows what is spent"),
        ({"model": ""}, "model"),
        ({"base_url": "http://127.0.0.1:123456/v1"}, "Port out of range"),
        ({"api_key": "sk-1"}, "unknown key 'api_key'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        settings.build(EndpointConfig, {"base_url": "http://127.0.0.1/v1", "model": "m", **values}, "endpoint")


def test_a_body_says_what_is_asked_and_nothing_needless() -> None:
    config = _config("http://127.0.0.1:1/v1")
    assert wire.body(config, _request("a", max_tokens=3)) == {
        "model": "m",
        "messages": [{"role": "user", "content": "a"}],
        "max_tokens": 3,
        "temperature": 0.0,
    }
    tool = {"name": "clock", "parameters": {"type": "object"}}
    turns = (
        Message(role="user", content="when?", tools=(tool,)),
        Message(role="assistant", content="", tool_calls=(ToolCall(name="clock", arguments={"zone": "UTC"}, id="c1"),)),
        Message(role="tool", content="noon", tool_call_id="c1"),
    )
    schema = {"type": "object"}
    drawn = Sampling(temperature=1.0, top_p=0.9, stop=("x",), seed=4)
    update = {"structured": "schema", "extra": {"seed": None, "max_tokens": None, "max_completion_tokens": 9}}
    body = wire.body(config.model_copy(update=update), Request(messages=turns, sampling=drawn, answer_schema=schema))
    assert "seed" not in body
    assert "max_tokens" not in body
    assert (body["max_completion_tokens"], body["top_p"], body["stop"]) == (9, 0.9, ["x"])
    assert body["response_format"]["json_schema"]["schema"] == schema
    assert body["tools"] == [{"type": "function", "function": tool}]
    assert body["messages"][1]["tool_calls"][0]["function"] == {"name": "clock", "arguments": '{"zone":"UTC"}'}
    assert body["messages"][2]["tool_call_id"] == "c1"


_JSON = st.recursive(
    st.none() | st.integers(0, 9) | st.sampled_from(["", "a"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["choices", "message", "usage"]), inner)
    ),
    max_leaves=8,
)


@hypothesis.settings(max_examples=60)
@given(_JSON)
def test_no_body_makes_reading_fail_otherwise_than_in_words(plain: Any) -> None:
    try:
        wire.read(orjson.dumps(plain), _request("a"))
    except ValueError as error:
        assert str(error)
