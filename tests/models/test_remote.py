"""The remote engine against a real server on loopback: what passes is tried again, what was paid is kept."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from honed import config as settings
from honed.errors import BudgetError, ConfigError, EndpointError
from honed.models import wire
from honed.models.endpoint import EndpointConfig
from honed.models.engine import Sampling
from honed.models.remote import RemoteEngine
from honed.models.wire import Reply, Request
from honed.records import Message
from tests.loopback import Answer, Body, Endpoint, endpoint, error, said

_PRICED = {"prompt_price": 1_000_000.0, "completion_price": 2_000_000.0}


def _config(url: str, **update: Any) -> EndpointConfig:
    return EndpointConfig(base_url=url, model="m", **{"backoff_seconds": 0.01, "concurrency": 4, **update})


def _engine(served: Endpoint, replies: Path | None = None, work: str = "", **update: Any) -> RemoteEngine:
    return RemoteEngine(_config(served.url, **update), replies, work)


def _request(text: str, **sampling: Any) -> Request:
    return Request(messages=(Message(role="user", content=text),), sampling=Sampling(**sampling))


def _echo(_number: int, body: Body) -> Answer:
    return Answer(f"you said {said(body)}")


def _first(*answers: Answer) -> Callable[[int, Body], Answer]:
    """These, then an echo."""
    return lambda number, body: answers[number] if number < len(answers) else _echo(number, body)


def test_answers_come_in_the_order_of_the_prompts_with_tokens_and_ends() -> None:
    told: list[int] = []
    with endpoint(lambda _n, body: Answer(said(body), finish="length")) as served, _engine(served) as engine:
        prompts = [[Message(role="user", content=str(number))] for number in range(20)]
        done = engine.generate(prompts, Sampling(max_tokens=7), lambda place, _completion: told.append(place))
        assert [one.text for one in done] == [str(number) for number in range(20)]
        assert (done[0].tokens, done[0].prompt_tokens, done[0].finish) == (5, 10, "length")
        assert sorted(told) == list(range(20))
        assert 1 < served.most_at_once <= 4
        assert engine.spent.model_dump() == {
            "requests": 20,
            "cached": 0,
            "retries": 0,
            "guessed": 0,
            "prompt_tokens": 200,
            "completion_tokens": 100,
            "cost": 0.0,
            "lost_cost": 0.0,
        }


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (error(500, "it broke"), "the endpoint answers 500 Internal Server Error: it broke"),
        (error(429, "too fast"), "the endpoint answers 429 Too Many Requests: too fast"),
        (Answer(raw=b'{"choices": [{"mess'), "the endpoint's answer is half a JSON document (19 bytes)"),
        (Answer(raw=b"<html>welcome</html>"), "the endpoint's answer is no JSON (20 bytes)"),
        (Answer(raw=b'{"choices": []}'), "the endpoint's answer is JSON without choices[0].message"),
        (Answer(raw=b'{"error": {"message": "busy"}}'), "the endpoint's answer is an error: {'message': 'busy'}"),
        (Answer(cut=20), "the connection broke off"),
        (Answer(slow=1.2), "no answer within 0.8 seconds"),
        (Answer(trickle=0.15), "no answer within 0.8 seconds"),
    ],
)
def test_what_may_pass_is_tried_again_and_said_once_it_does_not(bad: Answer, words: str) -> None:
    with endpoint(_first(bad)) as served, _engine(served, timeout_seconds=0.8) as engine:
        assert engine.complete(_request("a")).text == "you said a"
        assert (len(served.asked), engine.spent.retries) == (2, 1)
    with endpoint(lambda _n, _b: bad) as served, _engine(served, timeout_seconds=0.8, retries=1) as engine:
        with pytest.raises(EndpointError) as raised:
            engine.complete(_request("a"))
        assert raised.value.message.startswith(f"{served.url}/chat/completions: {words}")
        assert raised.value.message.endswith("(2 tries)")
        assert raised.value.hint
        assert len(served.asked) == 2


@pytest.mark.parametrize(
    ("status", "hint", "lasting"),
    [
        (400, "taken out with extra", False),
        (401, "Check the key in the variable that api_key_env names", True),
        (402, "Add credit", True),
        (404, "Check base_url", True),
        (307, "set base_url to where it leads", True),
        (418, "Check base_url, the model 'm'", True),
    ],
)
def test_what_does_not_pass_is_said_at_once_with_how_to_mend_it(status: int, hint: str, lasting: bool) -> None:
    with endpoint(lambda _n, _b: error(status, "no", Location="/v2")) as served, _engine(served) as engine:
        with pytest.raises(EndpointError) as raised:
            engine.complete(_request("a"))
        assert f"the endpoint answers {status}" in raised.value.message
        assert hint in raised.value.hint
        assert (raised.value.status, raised.value.lasting, len(served.asked)) == (status, lasting, 1)


def test_a_quota_that_is_used_up_is_not_waited_for() -> None:
    raw = b'{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}'
    with endpoint(lambda _n, _b: Answer(status=429, raw=raw)) as served, _engine(served) as engine:
        with pytest.raises(EndpointError, match="insufficient_quota") as raised:
            engine.complete(_request("a"))
        assert "Add credit" in raised.value.hint
        assert len(served.asked) == 1


def test_a_server_that_is_not_there_is_named_soon() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with RemoteEngine(_config(url)) as engine, pytest.raises(EndpointError) as raised:
        engine.complete(_request("a"))
    assert raised.value.message.startswith(f"{url}/chat/completions: no connection")
    assert raised.value.message.endswith("(3 tries)")
    assert "Check that the server runs" in raised.value.hint


def test_what_a_server_asks_to_wait_is_waited_by_all_requests() -> None:
    with endpoint(_first(error(429, "slow down", Retry_After="0.4"))) as served, _engine(served) as engine:
        engine.complete(_request("a"))
        assert served.times[1] - served.times[0] >= 0.4
    lock = threading.Lock()
    resting = [0.0]

    def answer(number: int, body: Body) -> Answer:
        with lock:
            resting[0] = resting[0] or time.monotonic()
        return error(429, retry_after_ms="500") if number == 0 else _echo(number, body)

    with endpoint(answer) as served, _engine(served, concurrency=1) as engine:
        [*engine.each(_request(str(number)) for number in range(3))]
        assert min(served.times[1:]) - resting[0] >= 0.5


@pytest.mark.parametrize("said_as", ["seconds", "date"])
def test_a_server_that_asks_to_wait_for_an_hour_is_not_waited_for(said_as: str) -> None:
    later = datetime.now(UTC) + timedelta(hours=2)
    after = "3600" if said_as == "seconds" else format_datetime(later, usegmt=True)
    with endpoint(lambda _n, _b: error(429, "later", Retry_After=after)) as served, _engine(served) as engine:
        with pytest.raises(EndpointError) as raised:
            engine.complete(_request("a"))
        assert "It asks to wait" in raised.value.hint
        assert len(served.asked) == 1


def test_nothing_is_paid_twice_whichever_engine_asks(tmp_path: Path) -> None:
    requests = [_request(str(number)) for number in range(8)]
    with endpoint(_echo) as served:
        with _engine(served, tmp_path / "replies.sqlite", "one", **_PRICED) as engine:
            first = dict(engine.each(requests[:5]))
            assert engine.spent.cost == pytest.approx(5 * (10 + 2 * 5))
            assert engine.complete(requests[0]).cached
        with _engine(served, tmp_path / "replies.sqlite", "two", **_PRICED) as engine:
            assert engine.estimate(requests).cached == 5
            again = dict(engine.each(requests))
            assert (engine.spent.cached, engine.spent.requests) == (5, 3)
            assert engine.spent.cost == pytest.approx(3 * 20)
        assert len(served.asked) == 8
        reply = again[0]
        assert isinstance(reply, Reply)
        assert first[0] == reply.model_copy(update={"cached": False})


def test_the_same_request_twice_at_a_time_is_sent_once() -> None:
    with endpoint(lambda _n, _b: Answer(slow=0.1)) as served, _engine(served) as engine:
        futures = [engine.submit(_request("a")) for _ in range(5)]
        assert {future.result().text for future in futures} == {"yes"}
        assert len([*engine.each([_request("b")] * 3)]) == 3
        assert len(served.asked) == 2


def test_the_limit_in_money_is_never_passed_and_all_that_was_paid_is_kept(tmp_path: Path) -> None:
    requests = [_request("one", max_tokens=10, seed=number, temperature=1.0) for number in range(30)]
    most = wire.prompt_tokens(requests[0].messages) + 2 * 10
    update = {**_PRICED, "max_cost": 100.0}
    with endpoint(lambda _n, _b: Answer(usage=(8, 6), slow=0.01)) as served:
        got = []
        with _engine(served, tmp_path / "r.sqlite", "job", **update) as engine:
            with pytest.raises(BudgetError) as raised:
                got.extend(place for place, _reply in engine.each(requests))
            spent = engine.spent
        assert 100 - most < spent.cost <= 100
        assert spent.cost == 20 * len(served.asked) == 20 * len(got)
        assert raised.value.message.startswith("max_cost 100 is reached: ")
        assert "Raise max_cost" in raised.value.hint
        asked = len(served.asked)
        with _engine(served, tmp_path / "r.sqlite", "job", **update) as engine, pytest.raises(BudgetError):
            [*engine.each(requests)]
        assert len(served.asked) == asked, "the limit holds for the work, not for each attempt"
        with _engine(served, tmp_path / "r.sqlite", "job", **{**update, "max_cost": 1e6}) as engine:
            assert len([*engine.each(requests)]) == 30
        assert len(served.asked) == 30


def test_an_answer_that_got_lost_counts_towards_the_limit() -> None:
    with endpoint(_first(Answer(cut=20))) as served, _engine(served, **_PRICED, max_cost=1e6) as engine:
        request = _request("a", max_tokens=10)
        engine.complete(request)
        assert engine.spent.lost_cost == wire.prompt_tokens(request.messages) + 2 * 10


def test_an_estimate_says_tokens_money_and_minutes_at_most() -> None:
    config = _config("http://127.0.0.1:1/v1", **_PRICED, requests_per_minute=2)
    with RemoteEngine(config) as engine:
        estimate = engine.estimate(_request("abc", max_tokens=10, seed=number) for number in range(4))
    assert (estimate.requests, estimate.prompt_tokens, estimate.completion_tokens) == (4, 36, 40)
    assert (estimate.cost, estimate.minutes) == (36 + 2 * 40, 2)
    with RemoteEngine(_config("http://127.0.0.1:1/v1")) as engine:
        assert engine.estimate([_request("abc")]).cost is None


@pytest.mark.parametrize("limit", [{"requests_per_minute": 600.0}, {"tokens_per_minute": 600.0 * 19}])
def test_requests_keep_to_the_rate(limit: dict[str, float]) -> None:
    with endpoint(lambda _n, _b: Answer(usage=(9, 10))) as served, _engine(served, **limit) as engine:
        start = time.monotonic()
        list(engine.each(_request(str(number), max_tokens=10) for number in range(5)))
    assert all(arrived - start >= 0.1 * place for place, arrived in enumerate(served.times))


def test_tokens_that_were_not_used_are_given_back_to_the_rate() -> None:
    with endpoint(lambda _n, _b: Answer(usage=(1, 1))) as served:
        with _engine(served, concurrency=1, tokens_per_minute=6000.0) as engine:
            [*engine.each(_request(str(number), max_tokens=91) for number in range(5))]
        assert served.times[-1] - served.times[0] < 3.5, "it would be 4 seconds"


def test_a_request_that_is_refused_alone_does_not_stop_the_others() -> None:
    def answer(number: int, body: Body) -> Answer:
        return error(400, "too long") if said(body) == "3" else _echo(number, body)

    with endpoint(answer) as served, _engine(served) as engine:
        done = dict(engine.each(_request(str(number)) for number in range(6)))
    refused = done.pop(3)
    assert isinstance(refused, EndpointError)
    assert "too long" in refused.message
    assert all(isinstance(one, Reply) for one in done.values())


def test_an_error_that_lasts_stops_the_rest_and_loses_nothing(tmp_path: Path) -> None:
    def answer(number: int, body: Body) -> Answer:
        return error(401, "who are you?") if number == 9 else Answer(said(body), slow=0.02)

    with endpoint(answer) as served:
        got: list[int] = []
        with _engine(served, tmp_path / "r.sqlite") as engine, pytest.raises(EndpointError, match="who are you"):
            got.extend(place for place, _reply in engine.each(_request(str(number)) for number in range(500)))
        asked = len(served.asked)
        assert len(got) == asked - 1 < 30
        with _engine(served, tmp_path / "r.sqlite") as engine:
            assert engine.estimate(_request(str(number)) for number in range(500)).cached == asked - 1


def test_a_stop_waits_for_what_is_under_way_and_sends_nothing_more(tmp_path: Path) -> None:
    stop = threading.Event()

    def answer(number: int, body: Body) -> Answer:
        if number == 5:
            stop.set()
        return Answer(slow=0.05)

    requests = [_request(str(number)) for number in range(100)]
    with endpoint(answer) as served, _engine(served, tmp_path / "r.sqlite") as engine:
        assert len([*engine.each(requests, stop.is_set)]) < 100
        assert engine.estimate(requests).cached == len(served.asked) < 20


def test_a_stop_does_not_wait_for_retries() -> None:
    stop = threading.Event()

    def answer(number: int, body: Body) -> Answer:
        stop.set()
        return error(429, "rest", Retry_After="60")

    start = time.monotonic()
    with endpoint(answer) as served, _engine(served) as engine:
        assert [*engine.each([_request("a")], stop.is_set)] == []
    assert time.monotonic() - start < 5


def test_one_slow_answer_does_not_hold_up_the_others() -> None:
    def answer(number: int, body: Body) -> Answer:
        return Answer(said(body), slow=0.5 if said(body) == "0" else 0.0)

    with endpoint(answer) as served, _engine(served) as engine:
        order = [place for place, _reply in engine.each(_request(str(number)) for number in range(8))]
    assert order[-1] == 0


def test_a_coroutine_awaits_an_answer_while_others_run() -> None:
    async def both(engine: RemoteEngine) -> list[str]:
        ticks: list[str] = []

        async def tick() -> None:
            while len(ticks) < 3:
                ticks.append("tick")
                await asyncio.sleep(0.01)

        reply, _ = await asyncio.gather(asyncio.wrap_future(engine.submit(_request("a"))), tick())
        return [*ticks, reply.text]

    with endpoint(lambda _n, _b: Answer(slow=0.2)) as served, _engine(served) as engine:
        assert asyncio.run(both(engine)) == ["tick", "tick", "tick", "yes"]


def test_a_stream_gives_the_pieces_and_is_kept(tmp_path: Path) -> None:
    prompt = [Message(role="user", content="a")]
    with endpoint(lambda _n, _b: Answer("one two")) as served, _engine(served, tmp_path / "r.sqlite") as engine:
        assert [*engine.stream(prompt, Sampling())] == ["one", "two"]
        assert [*engine.stream(prompt, Sampling())] == ["onetwo"]
        assert engine.generate([prompt], Sampling())[0].tokens == 5
        assert len(served.asked) == 1


@pytest.mark.parametrize("bad", [error(500, "broke"), Answer("one two", cut=30)])
def test_a_stream_that_breaks_is_an_error_and_not_kept(bad: Answer) -> None:
    prompt = [Message(role="user", content="a")]
    with endpoint(_first(bad)) as served, _engine(served) as engine:
        with pytest.raises(EndpointError):
            list(engine.stream(prompt, Sampling()))
        assert "".join(engine.stream(prompt, Sampling())) == "yousaida"


def test_the_key_is_sent_and_never_said_or_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "sk-hush-hush")
    wrong = error(401, "wrong key sk-hush-hush given")
    replies = tmp_path / "r.sqlite"
    with endpoint(lambda number, _b: Answer() if number == 0 else wrong) as served:
        config = _config(served.url, api_key_env="TEST_KEY")
        with RemoteEngine(config, replies) as engine:
            engine.complete(_request("a"))
            assert served.headers[0]["Authorization"] == "Bearer sk-hush-hush"
            with pytest.raises(EndpointError) as raised:
                engine.complete(_request("b"))
        assert "hush" not in str(raised.value)
        assert "wrong key *** given" in raised.value.message
    settings.save(config, tmp_path / "config.yaml")
    assert not any(b"hush" in path.read_bytes() for path in tmp_path.iterdir())
    monkeypatch.setenv("TEST_KEY", "sk-hush\nhush")
    with pytest.raises(ConfigError, match="has blanks or signs that no key has"):
        RemoteEngine(config)
    monkeypatch.delenv("TEST_KEY")
    with pytest.raises(ConfigError, match="TEST_KEY, which is not set"):
        RemoteEngine(config)


def test_a_key_that_a_server_repeats_in_an_answer_of_status_200_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "sk-hush-hush")
    repeats = Answer(raw=b'{"error": "' + b"x" * 190 + b' sk-hush-hush"}')
    with endpoint(lambda _n, _b: repeats) as served:
        config = _config(served.url, api_key_env="TEST_KEY", retries=0)
        with RemoteEngine(config) as engine, pytest.raises(EndpointError) as raised:
            engine.complete(_request("a"))
    assert "sk-hu" not in raised.value.message and "***" in raised.value.message


def test_a_server_that_counts_no_tokens_gets_them_guessed() -> None:
    with endpoint(lambda _n, _b: Answer("four", usage=None)) as served, _engine(served) as engine:
        reply = engine.complete(_request("abc"))
    assert (reply.prompt_tokens, reply.completion_tokens, reply.guessed) == (9, 2, True)
