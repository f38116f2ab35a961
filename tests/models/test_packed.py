"""Packed passes: prefixes shared by groups of rows, slots used again, long prompts, guesses; no answer may change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from transformers import LlamaForCausalLM

from honed.models import batch as batches
from honed.models.engine import Completion, Sampling
from honed.models.load import LoadedModel
from honed.models.packed import PackedBatch
from honed.models.packed_forward import packed_forward
from honed.models.padded import PaddedBatch
from honed.models.row import Row, make_row
from honed.records import Message
from tests.models.passes import before_each
from tests.models.test_local import Prompt, ask, one_by_one, reference, tiny, unequal
from tests.tiny import tiny_model

GREEDY = Sampling(max_tokens=12)


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return tiny(tiny_model(3, context=2048, tied=False), context=2048)


@pytest.fixture(scope="module")
def looping() -> LoadedModel:
    """A model whose next token follows from the last one alone, and never ends: its answers soon repeat themselves."""
    model = tiny_model(3, context=2048, tied=False)
    loaded = tiny(model, context=2048)
    with torch.no_grad():
        model.lm_head.weight[257] = 0
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
    return loaded


def packed(loaded: LoadedModel, size: int, *, guess: bool = True) -> PackedBatch:
    forward = packed_forward(loaded, size)
    assert forward is not None
    return PackedBatch(loaded, forward, size, guess=guess)


def answers(running: PackedBatch | PaddedBatch, rows: list[Row]) -> list[Completion]:
    running.add(rows)
    while not running.over:
        running.step()
    return [row.completion for row in rows]


def rows(loaded: LoadedModel, prompts: list[Prompt], sampling: Sampling = GREEDY) -> list[Row]:
    return [make_row(loaded, prompt, sampling) for prompt in prompts]


@contextmanager
def computed() -> Iterator[list[int]]:
    """Record how many tokens each pass computes."""
    seen: list[int] = []
    with before_each(lambda work: seen.append(work.ids.numel())):
        yield seen


def groups() -> list[Prompt]:
    """A house's system prompt, which each of three audiences extends, under four questions each."""
    house = "You are the help desk of a bicycle shop. Answer briefly and never promise a date."
    audiences = ("Write for children of eight years.", "Write for mechanics, and be exact.", "Write plainly.")
    return [ask(f"Question {number}?", f"{house} {audience}") for number in range(3) for audience in audiences]


def test_a_model_on_a_cpu_with_plain_attention_is_packed(loaded: LoadedModel) -> None:
    assert isinstance(batches.batch(loaded, 4), PackedBatch)


def test_attention_that_does_not_come_through_our_function_is_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny()
    monkeypatch.setattr(loaded.model.config, "_attn_implementation", "eager")
    assert isinstance(batches.batch(loaded, 4), PaddedBatch)


@pytest.mark.parametrize(("kind", "packs"), [("longrope", False), ("dynamic", True)])
def test_a_model_that_has_other_positions_for_long_rows_is_padded_unless_they_are_too_long_for_it(
    kind: str, packs: bool
) -> None:
    model = tiny_model(3)
    given = {"short_factor": [1.0] * 4, "long_factor": [9.0] * 4} if kind == "longrope" else {"factor": 4.0}
    ends = {"original_max_position_embeddings": 64} if kind == "longrope" else {}
    model.config.rope_parameters = {"rope_type": kind, "rope_theta": 1e4, **given, **ends}
    loaded = tiny(LlamaForCausalLM(model.config).eval())
    running = batches.batch(loaded, 3)
    assert isinstance(running, PackedBatch) is packs
    if packs:
        prompts = unequal(5)
        assert answers(running, rows(loaded, prompts)) == one_by_one(loaded, prompts, GREEDY)


def test_padded_rows_give_the_same_answers(loaded: LoadedModel) -> None:
    prompts = unequal(9)
    made = answers(PaddedBatch(loaded, 4), rows(loaded, prompts))
    assert made == answers(packed(loaded, 4), rows(loaded, prompts))


@pytest.mark.parametrize("size", [2, 5])
def test_beginnings_that_groups_of_rows_share_are_computed_once(loaded: LoadedModel, size: int) -> None:
    prompts = groups()
    alone = one_by_one(loaded, prompts, GREEDY)
    given = rows(loaded, prompts)
    with computed() as seen:
        assert answers(packed(loaded, size, guess=False), given) == alone
    made = sum(completion.tokens for completion in alone) - len(alone)
    whole = sum(len(row.ids) for row in given)
    prompt_tokens = sum(seen) - made
    if size > 2:  # fewer slots than audiences forget some
        audiences = 3 * 150
        assert prompt_tokens < audiences + len(given) * 50 < whole


def test_the_next_turn_of_a_chat_computes_what_is_new_only(loaded: LoadedModel) -> None:
    running = packed(loaded, 2)
    opening = ask("What does a new chain cost, and how long does it take?" * 2)
    first = answers(running, rows(loaded, [opening]))[0]
    following = (*opening, Message(role="assistant", content="A week."), Message(role="user", content="And a tyre?"))
    with computed() as seen:
        second = answers(running, rows(loaded, [following]))[0]
    assert seen[0] < len(loaded.chat.prompt_ids(following)) - len(loaded.chat.prompt_ids(opening)) + 20
    assert [first, second] == one_by_one(loaded, [opening, following], GREEDY)


def test_a_prompt_longer_than_a_pass_is_computed_in_parts_beside_the_others(loaded: LoadedModel) -> None:
    prompts = [ask("word " * 250), ask("a short one"), ask("another short one")]
    made = answers(packed(loaded, 3), rows(loaded, prompts))
    for prompt, completion in zip(prompts, made, strict=True):
        ids = reference(loaded, prompt, 12)
        assert completion.text == loaded.chat.decode(token for token in ids if token not in loaded.chat.stop_ids)


def test_guesses_save_passes_and_change_no_answer(looping: LoadedModel) -> None:
    prompts, sampling = unequal(4), Sampling(max_tokens=120)
    with computed() as plain:
        without = answers(packed(looping, 3, guess=False), rows(looping, prompts, sampling))
    with computed() as guessed:
        assert answers(packed(looping, 3), rows(looping, prompts, sampling)) == without
    assert len(guessed) < 0.7 * len(plain)


def test_sampled_answers_are_never_guessed(looping: LoadedModel) -> None:
    assert all(row.lookup is None for row in rows(looping, unequal(3), Sampling(temperature=0.7)))


def test_a_stop_text_within_guessed_tokens_ends_the_answer(looping: LoadedModel) -> None:
    prompt, sampling = unequal(1), Sampling(max_tokens=120)
    text = answers(packed(looping, 1), rows(looping, prompt, sampling))[0].text
    stop = text[70:76]
    made = answers(packed(looping, 1), rows(looping, prompt, Sampling(max_tokens=120, stop=(stop,))))[0]
    assert made.text == text.partition(stop)[0]


def test_after_a_failed_pass_the_rows_go_on_to_the_same_answers(loaded: LoadedModel) -> None:
    prompts = unequal(4)
    running, given = packed(loaded, 4), rows(loaded, prompts)
    running.add(given)
    for _ in range(3):
        running.step()

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    with before_each(fail), pytest.raises(RuntimeError, match="out of memory"):
        running.step()
    assert answers(running, []) == []
    assert [row.completion for row in given] == one_by_one(loaded, prompts, GREEDY)
