"""The official ``openai`` client against a real server over a real, tiny model."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from honed.models.engine import Sampling
from honed.models.local import LocalEngine
from honed.records import Message
from tests.serve.site import Site, tiny

HELLO: list[Any] = [{"role": "user", "content": "hello"}]


def ask(site: Site, **given: Any) -> Any:
    return site.client.chat.completions.create(**{"model": "tiny@v3", "messages": HELLO, **given})


def expected(**given: Any) -> Any:
    return LocalEngine(tiny()).generate([(Message(role="user", content="hello"),)], Sampling(**given))[0]


def test_an_answer_is_the_one_of_the_engine_and_is_stored(site: Site) -> None:
    answer = ask(site, max_tokens=30, user="ann")
    (choice,) = answer.choices
    right = expected(max_tokens=30)
    assert (choice.message.content, choice.finish_reason) == (right.text, right.finish)
    assert (answer.usage.completion_tokens, answer.usage.prompt_tokens) == (right.tokens, right.prompt_tokens)
    stored = site.store.get(answer.honed["interaction"])
    assert stored is not None
    assert stored.id == answer.id
    assert (stored.answer, stored.model, stored.prompt[0].content) == (right.text, "tiny@v3", "hello")
    assert stored.model_hash == "3" * 16
    assert stored.template_hash == tiny().chat.hash
    assert stored.sampling["max_tokens"] == 30
    assert stored.subject == site.signer.subject("user:ann")
    claim = site.signer.read(answer.honed["feedback_token"])
    assert (claim.interaction, claim.subject) == (stored.id, stored.subject)


def test_a_stream_brings_the_same_text_and_ends_with_the_token(site: Site) -> None:
    chunks = list(ask(site, max_tokens=30, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    right = expected(max_tokens=30)
    assert text == right.text
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == [right.finish]
    assert chunks[-1].usage.completion_tokens == right.tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])
    stored = site.store.get(chunks[-1].honed["interaction"])
    assert stored is not None
    assert stored.answer == text
    assert not any(hasattr(chunk, "honed") for chunk in chunks[:-1])


def test_without_usage_the_last_chunk_has_the_token_as_well(site: Site) -> None:
    chunks = list(ask(site, stream=True))
    assert chunks[-1].choices[0].finish_reason
    assert chunks[-1].honed["model"] == "tiny@v3"


def test_a_stop_text_ends_the_answer(site: Site) -> None:
    free = ask(site, max_tokens=40, temperature=1.0, seed=5).choices[0].message.content
    stop = next(letter for letter in free[2:] if letter != "�")
    for given in (stop, [stop, "never said"]):
        choice = ask(site, max_tokens=40, temperature=1.0, seed=5, stop=given).choices[0]
        assert choice.message.content == free.partition(stop)[0]
        assert choice.finish_reason == "stop"


def test_the_seed_decides_a_sampled_answer(site: Site) -> None:
    def text(**given: Any) -> str:
        return str(ask(site, max_tokens=30, temperature=1.5, **given).choices[0].message.content)

    assert text(seed=1) == text(seed=1)
    assert text(seed=1) != text(seed=2)
    assert len({text() for _ in range(4)}) > 1


def test_top_p_narrows_the_choice_of_tokens(site: Site) -> None:
    greedy = ask(site, max_tokens=20).choices[0].message.content
    narrow = ask(site, max_tokens=20, temperature=1.0, top_p=1e-6, seed=9).choices[0].message.content
    assert narrow == greedy


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_limit_of_tokens_holds(site: Site, name: str) -> None:
    answer = ask(site, **{name: 3})
    assert answer.usage.completion_tokens <= 3


def test_the_servers_own_limit_holds_where_none_is_given(site: Site) -> None:
    assert ask(site, temperature=2.0, seed=1).usage.completion_tokens <= 40


def test_text_parts_are_read_as_their_text(site: Site) -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]}]
    assert ask(site, messages=parts).choices[0].message.content == ask(site).choices[0].message.content


def test_what_asks_for_nothing_special_is_taken(site: Site) -> None:
    ask(site, n=1, frequency_penalty=0, presence_penalty=0.0, logprobs=False, response_format={"type": "text"})


def test_declared_attributes_are_stored(site: Site) -> None:
    given = {"audience": "expert", "pair": "p-1", "simulated": "true"}
    stored = site.store.get(ask(site, metadata=given).id)
    assert stored is not None
    assert (stored.segments, stored.pair, stored.simulated) == ({"audience": "expert"}, "p-1", True)


def test_two_strangers_have_two_pseudonyms(site: Site) -> None:
    first, second = (site.store.get(ask(site).id) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.subject != second.subject


def test_the_models_are_listed_and_shown(site: Site) -> None:
    assert [model.id for model in site.client.models.list()] == ["tiny@v3"]
    assert site.client.models.retrieve("tiny@v3").owned_by == "honed"
    with pytest.raises(openai.NotFoundError):
        site.client.models.retrieve("zebra")


def test_a_bare_name_means_the_version_that_is_served(site: Site) -> None:
    assert ask(site, model="tiny").model == "tiny@v3"


def test_an_unknown_model_is_named_with_the_nearest(site: Site) -> None:
    with pytest.raises(openai.NotFoundError, match=r"Did you mean 'tiny@v3'\?") as error:
        ask(site, model="tinny@v3")
    assert error.value.code == "model_not_found"
    assert error.value.param == "model"


def test_an_over_long_prompt_says_how_long_it_may_be(site: Site) -> None:
    with pytest.raises(openai.BadRequestError, match="511 tokens at most") as error:
        ask(site, messages=[{"role": "user", "content": "long " * 200}])
    assert error.value.code == "context_length_exceeded"
    assert error.value.type == "invalid_request_error"


def test_feedback_is_taken_with_the_token_of_the_answer(site: Site) -> None:
    answer = ask(site)
    body = {"token": answer.honed["feedback_token"], "kind": "thumb", "good": True}
    given = site.post(body, "/v1/feedback")
    assert given.status_code == 201, given.text
    again = site.post(body, "/v1/feedback")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "used_token")
    (event,) = site.store.feedback(interaction=answer.id)
    assert event.good is True
