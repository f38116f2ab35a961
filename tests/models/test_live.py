"""The live engine: requests that come and go get the answers of the closed batch, and really share steps."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from honed.errors import HonedError, ModelError
from honed.models.engine import Completion, LiveEngine, Reasoning, Sampling
from honed.models.live import LiveLocalEngine
from honed.models.load import LoadedModel
from honed.models.local import LocalEngine
from tests.models.passes import before_each
from tests.models.test_local import Prompt, ask, tiny, unequal
from tests.tiny import tiny_model

_WAIT = 60.0


class Client:
    """Keeps what it is told, and how it ended."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.ended: list[Completion | HonedError] = []
        self.began, self.done = threading.Event(), threading.Event()

    def __call__(self, news: str | Reasoning | Completion | HonedError) -> None:
        assert not isinstance(news, Reasoning)
        if isinstance(news, str):
            assert not self.ended
            self.pieces.append(news)
            self.began.set()
        else:
            self.ended.append(news)
            self.done.set()

    def completion(self) -> Completion:
        assert self.done.wait(_WAIT)
        (ended,) = self.ended
        assert isinstance(ended, Completion), ended
        assert "".join(self.pieces) == ended.text
        return ended


@contextmanager
def live(loaded: LoadedModel, size: int) -> Iterator[LiveLocalEngine]:
    engine = LiveLocalEngine(loaded, size)
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def steps() -> Iterator[list[int]]:
    """Record how many rows each pass through the model has."""
    seen: list[int] = []
    with before_each(lambda work: seen.append(len(work.runs))):
        yield seen


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return tiny()


@pytest.fixture(scope="module")
def endless() -> LoadedModel:
    """A model whose greedy answers only end where they must."""
    model = tiny_model(3, context=8192, tied=False)
    with torch.no_grad():
        model.lm_head.weight[257] = 0
    return tiny(model, context=8192)


_SAMPLINGS = st.builds(
    Sampling,
    max_tokens=st.integers(1, 20),
    temperature=st.sampled_from([0.0, 0.7, 1.3]),
    top_p=st.sampled_from([1.0, 0.9, 0.3]),
    seed=st.integers(-(2**63), 2**63 - 1),
    stop=st.sampled_from([(), ("a",), ("e", "xy")]),
)
_REQUESTS = st.lists(
    st.tuples(st.text(max_size=80), _SAMPLINGS, st.sampled_from([0.0, 0.001, 0.01])), min_size=1, max_size=8
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=_REQUESTS, size=st.integers(1, 5))
def test_the_answer_is_that_of_the_closed_batch_whenever_a_request_comes(
    loaded: LoadedModel, requests: Sequence[tuple[str, Sampling, float]], size: int
) -> None:
    clients = []
    with live(loaded, size) as engine:
        for text, sampling, pause in requests:
            clients.append(Client())
            engine.submit(ask(text), sampling, clients[-1])
            time.sleep(pause)  # lets the batch run a few steps; any number of them must do
        answers = [client.completion() for client in clients]
    expected = [LocalEngine(loaded).generate([ask(text)], sampling)[0] for text, sampling, _ in requests]
    assert answers == expected


def test_a_live_engine_is_one(loaded: LoadedModel) -> None:
    engine: LiveEngine = LiveLocalEngine(loaded)
    engine.close()


def test_requests_share_the_steps_of_the_model(endless: LoadedModel) -> None:
    with live(endless, 4) as engine, steps() as seen:
        first, second = Client(), Client()
        engine.submit(ask("the first, alone for a while"), Sampling(max_tokens=600, temperature=1.0, top_p=0.3), first)
        assert first.began.wait(_WAIT)
        engine.submit(ask("the second"), Sampling(max_tokens=10, temperature=1.0), second)
        second.completion()
        assert not first.done.is_set()
        first.completion()
    assert seen.count(2) >= 9  # the second one's steps are the first one's as well
    assert len(seen) <= 600 + 1  # a prefill each, and no step of the second one alone
    assert max(seen) == 2
    assert seen[-1] == 1  # when the second had left, the batch shrank


def test_the_batch_grows_to_its_size_and_no_further(endless: LoadedModel) -> None:
    clients = [Client() for _ in range(7)]
    with live(endless, 3) as engine, steps() as seen:
        for client, prompt in zip(clients, unequal(7), strict=True):
            engine.submit(prompt, Sampling(max_tokens=30), client)
        for client in clients:
            client.completion()
    assert max(seen) == 3


def test_a_longer_prompt_than_all_that_run_finds_room(endless: LoadedModel) -> None:
    long = ask("long " * 300)
    with live(endless, 4) as engine:
        first, second = Client(), Client()
        engine.submit(ask("short"), Sampling(max_tokens=200), first)
        assert first.began.wait(_WAIT)
        engine.submit(long, Sampling(max_tokens=200), second)
        answers = [first.completion(), second.completion()]
    assert answers == [LocalEngine(endless).generate([p], Sampling(max_tokens=200))[0] for p in (ask("short"), long)]


def test_cancelling_frees_the_place_and_keeps_what_came(endless: LoadedModel) -> None:
    with live(endless, 1) as engine:
        first, second = Client(), Client()
        cancel = engine.submit(ask("one"), Sampling(max_tokens=8000, temperature=1.0, top_p=0.3), first)
        engine.submit(ask("two"), Sampling(max_tokens=5), second)
        assert first.began.wait(_WAIT)
        assert not second.done.is_set()
        cancel()
        cancel()
        assert first.completion().finish == "cancelled"
        assert 0 < first.completion().tokens < 8000
        assert second.completion() == LocalEngine(endless).generate([ask("two")], Sampling(max_tokens=5))[0]
        cancel()  # long over


def test_a_request_that_waits_can_be_cancelled(endless: LoadedModel) -> None:
    with live(endless, 1) as engine:
        first, second = Client(), Client()
        stop = engine.submit(ask("one"), Sampling(max_tokens=8000, temperature=1.0, top_p=0.3), first)
        cancel = engine.submit(ask("two"), Sampling(max_tokens=5), second)
        cancel()
        assert second.completion() == Completion(
            text="", tokens=0, finish="cancelled", prompt_tokens=len(endless.chat.prompt_ids(ask("two")))
        )
        stop()
        first.completion()


def test_cancelling_some_changes_no_other_answer(loaded: LoadedModel) -> None:
    numbers, sampling = random.Random(1), Sampling(max_tokens=60, temperature=1.1)
    prompts = unequal(24)
    clients: list[Client] = [Client() for _ in prompts]
    with live(loaded, 5) as engine:
        cancels = [engine.submit(prompt, sampling, client) for prompt, client in zip(prompts, clients, strict=True)]
        for place in numbers.sample(range(24), 8):
            numbers.choice(clients).began.wait(0.01)
            cancels[place]()
        answers = [client.completion() for client in clients]
    whole = LocalEngine(loaded).generate(prompts, sampling)
    for answer, expected in zip(answers, whole, strict=True):
        if answer.finish == "cancelled":
            assert expected.text.startswith(answer.text.rstrip("�"))
        else:
            assert answer == expected


def test_an_over_long_prompt_is_refused_before_it_is_queued(loaded: LoadedModel) -> None:
    client = Client()
    with live(loaded, 2) as engine, pytest.raises(ModelError, match=r"^the prompt has \d+ tokens") as error:
        engine.submit(ask("long " * 200), Sampling(), client)
    assert "511 tokens" in error.value.hint
    assert not client.ended


def test_closing_cancels_what_runs_and_what_comes_later(endless: LoadedModel) -> None:
    engine = LiveLocalEngine(endless, 1)
    clients = [Client() for _ in range(3)]
    for client in clients[:2]:
        engine.submit(ask("one"), Sampling(max_tokens=8000, temperature=1.0, top_p=0.3), client)
    assert clients[0].began.wait(_WAIT)
    engine.close()
    engine.submit(ask("late"), Sampling(), clients[2])
    assert [client.completion().finish for client in clients] == ["cancelled"] * 3


def test_a_model_that_fails_tells_every_request_and_answers_the_next(loaded: LoadedModel) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    clients: list[Client] = [Client() for _ in range(3)]
    with live(loaded, 2) as engine:
        with before_each(fail):
            for client in clients:
                engine.submit(ask("one"), Sampling(max_tokens=5), client)
            for client in clients:
                assert client.done.wait(_WAIT)
                assert isinstance(client.ended[0], ModelError)
                assert "out of memory" in client.ended[0].message
        client = Client()
        engine.submit(ask("two"), Sampling(max_tokens=5), client)
        assert client.completion().tokens > 0


def test_many_threads_may_ask_at_once(loaded: LoadedModel) -> None:
    prompts, sampling = unequal(32), Sampling(max_tokens=12, temperature=0.9)
    clients: dict[int, Client] = {at: Client() for at in range(32)}

    def send(prompt: Prompt, at: int) -> None:
        engine.submit(prompt, sampling, clients[at])

    with live(loaded, 8) as engine:
        threads = [threading.Thread(target=send, args=(prompt, at)) for at, prompt in enumerate(prompts)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        answers = [clients[at].completion() for at in range(32)]
    assert answers == LocalEngine(loaded).generate(prompts, sampling)
