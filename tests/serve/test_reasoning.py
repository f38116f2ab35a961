"""A model that reasons, as OpenAI's clients meet it: its reasoning beside the answer, only the answer kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from honed.models.chat import from_tokenizer
from honed.models.load import LoadedModel
from honed.store import workspace as workspaces
from tests.models.spoken import say
from tests.serve.site import Site, serve_tiny, serving
from tests.tiny import END, THINKING, tiny_model, tiny_tokenizer

CHAT = from_tokenizer(tiny_tokenizer(THINKING))
HELLO: list[Any] = [{"role": "user", "content": "6 x 7?"}]


@pytest.fixture(scope="module")
def thinking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    workspace = workspaces.init(tmp_path_factory.mktemp("thinking"))
    loaded = LoadedModel(tiny_model(), CHAT, "tiny@v1", "1" * 16, 512)
    with serving(workspace, lambda _: serve_tiny(loaded), ["tiny@v1"], max_tokens=100) as site:
        yield site


def ask(site: Site, messages: list[Any] = HELLO, **given: Any) -> Any:
    return site.client.chat.completions.create(model="tiny@v1", messages=messages, **given)


@pytest.mark.parametrize(
    ("said", "reasoning"),
    [("<think>\n\n</think>\n\n42", ""), ("<think>\nSix sevens.\n</think>\n\n42", "Six sevens."), ("42", "")],
)
def test_the_content_is_the_answer_and_usage_counts_all_tokens(
    thinking: Site, monkeypatch: pytest.MonkeyPatch, said: str, reasoning: str
) -> None:
    count = say(monkeypatch, CHAT, said + END)
    answer = ask(thinking)
    message = answer.choices[0].message
    assert (message.content, getattr(message, "reasoning_content", "")) == ("42", reasoning)
    assert answer.usage.completion_tokens == count
    stored = thinking.store.get(answer.id)
    assert stored is not None and (stored.answer, stored.tokens) == ("42", count)

    *chunks, last = ask(thinking, stream=True, stream_options={"include_usage": True})
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(delta.content or "" for delta in deltas) == "42"
    assert "".join(getattr(delta, "reasoning_content", "") for delta in deltas) == reasoning
    assert last.usage.completion_tokens == count
    stored = thinking.store.get(last.honed["interaction"])
    assert stored is not None and stored.answer == "42"


def test_an_answer_that_is_cut_in_its_reasoning_is_empty_and_says_why_it_ended(
    thinking: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(monkeypatch, CHAT, "<think>\nSix sevens.\n</think>\n\n42" + END)
    (choice,) = ask(thinking, max_tokens=11).choices
    assert (choice.message.content, choice.message.reasoning_content, choice.finish_reason) == ("", "Six", "length")


def test_reasoning_that_a_client_sends_back_is_no_part_of_the_prompt(
    thinking: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(monkeypatch, CHAT, "42" + END)
    before = {"role": "assistant", "content": "42"}
    with_, without = (
        ask(thinking, [*HELLO, turn, *HELLO]) for turn in ({**before, "reasoning_content": "Six sevens."}, before)
    )
    assert with_.usage.prompt_tokens == without.usage.prompt_tokens
    stored = thinking.store.get(with_.id)
    assert stored is not None and [turn.content for turn in stored.prompt] == ["6 x 7?", "42", "6 x 7?"]
