"""Answers that were made before: found when all is the same, and only then."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from honed.errors import StoreError
from honed.models import answer_cache
from honed.models.answer_cache import AnswerCache, CachedEngine
from honed.models.engine import Completion, Sampling
from honed.records import Message
from honed.store import workspace as workspaces
from honed.store.workspace import Workspace

GREEDY = Sampling(max_tokens=20)


def ask(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def answer(text: str = "Fine.", tokens: int = 5, finish: str = "stop") -> Completion:
    return Completion.model_validate({"text": text, "tokens": tokens, "finish": finish})


class Model:
    """Answers with the prompt, at its full length if that ends in '...', and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_done: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        made = []
        for place, prompt in enumerate(prompts):
            text = prompt[-1].content
            self.asked.append(text)
            cut = text.endswith("...")
            made.append(answer(text, sampling.max_tokens if cut else 5, "length" if cut else "stop"))
            if on_done:
                on_done(place, made[-1])
        return made

    def stream(self, prompt: Sequence[Message], sampling: Sampling) -> Iterator[str]:
        yield self.generate([prompt], sampling)[0].text


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    return workspaces.init(tmp_path)


def test_a_second_time_nothing_is_computed_and_it_is_said_how_many_came_from_the_cache(home: Workspace) -> None:
    model, told = Model(), list[tuple[int, str]]()
    first = CachedEngine(model, AnswerCache(home, "m", "t", "fp32"))
    whole = first.generate([ask("a"), ask("b")], GREEDY)
    again = CachedEngine(model, AnswerCache(home, "m", "t", "fp32"))
    made = again.generate([ask("c"), ask("a"), ask("b")], GREEDY, lambda place, one: told.append((place, one.text)))
    assert made[1:] == whole
    assert model.asked == ["a", "b", "c"]
    assert (first.found, again.found) == (0, 2)
    assert sorted(told) == [(0, "c"), (1, "a"), (2, "b")]


@pytest.mark.parametrize("who", [("other", "t", "fp32"), ("m", "other", "fp32"), ("m", "t", "bf16")])
def test_another_model_template_or_precision_misses(home: Workspace, who: tuple[str, ...]) -> None:
    AnswerCache(home, "m", "t", "fp32").keep(ask("a"), GREEDY, answer())
    assert AnswerCache(home, *who).get(ask("a"), GREEDY) is None


@pytest.mark.parametrize("changed", [{"temperature": 0.5}, {"top_p": 0.9}, {"seed": 1}, {"stop": ("x",)}])
def test_another_parameter_misses(home: Workspace, changed: dict[str, object]) -> None:
    cache = AnswerCache(home, "m", "t", "fp32")
    cache.keep(ask("a"), GREEDY, answer())
    assert cache.get(ask("a"), GREEDY) == answer()
    assert cache.get(ask("a"), GREEDY.model_copy(update=changed)) is None
    assert cache.get(ask("b"), GREEDY) is None


def test_a_cut_answer_is_returned_for_its_own_length_only(home: Workspace) -> None:
    cache = AnswerCache(home, "m", "t", "fp32")
    cache.keep(ask("a"), GREEDY, answer(tokens=20, finish="length"))
    assert cache.get(ask("a"), GREEDY) is not None
    for most in (10, 40):
        assert cache.get(ask("a"), Sampling(max_tokens=most)) is None


def test_an_answer_that_ended_by_itself_is_returned_for_any_length_that_holds_it(home: Workspace) -> None:
    cache = AnswerCache(home, "m", "t", "fp32")
    cache.keep(ask("a"), GREEDY, answer(tokens=12))
    assert cache.get(ask("a"), Sampling(max_tokens=1000)) == answer(tokens=12)
    assert cache.get(ask("a"), Sampling(max_tokens=12)) == answer(tokens=12)
    assert cache.get(ask("a"), Sampling(max_tokens=11)) is None


def test_what_was_cancelled_is_not_kept(home: Workspace) -> None:
    cache = AnswerCache(home, "m", "t", "fp32")
    cache.keep(ask("a"), GREEDY, answer(finish="cancelled"))
    assert cache.get(ask("a"), GREEDY) is None


def test_those_asked_for_the_longest_ago_go_first(home: Workspace) -> None:
    cache = AnswerCache(home, "m", "t", "fp32", most=2)
    for text in ("a", "b", "c"):
        cache.keep(ask(text), GREEDY, answer(text))
    assert cache.get(ask("a"), GREEDY)
    cache.close()
    cache = AnswerCache(home, "m", "t", "fp32")
    assert [bool(cache.get(ask(text), GREEDY)) for text in ("a", "b", "c")] == [True, False, True]


def test_a_damaged_file_is_begun_anew(home: Workspace) -> None:
    home.cache.mkdir()
    (home.cache / "answers.sqlite").write_bytes(b"no database at all, but long enough to look at" * 100)
    cache = AnswerCache(home, "m", "t", "fp32")
    cache.keep(ask("a"), GREEDY, answer())
    assert cache.get(ask("a"), GREEDY) == answer()


def test_a_file_that_is_merely_busy_is_said_and_kept_and_one_that_is_damaged_is_begun_anew(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = workspace.cache / "answers.sqlite"
    AnswerCache(workspace, "one").keep(ask("a"), GREEDY, answer())
    monkeypatch.setattr(answer_cache, "_WAIT_SECONDS", 0.01)
    with closing(sqlite3.connect(file)) as other:
        other.execute("DROP INDEX answers_by_use")  # so that opening has to write
        other.commit()
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="database is locked"):
            AnswerCache(workspace, "two")
    assert AnswerCache(workspace, "one").holds(ask("a"), GREEDY)
    file.write_bytes(b"no database at all" * 100)
    assert not AnswerCache(workspace, "one").holds(ask("a"), GREEDY)
