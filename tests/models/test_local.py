"""The local engine: what batching, refilling, sharing and streaming must not change."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from honed.errors import ModelError
from honed.models.chat import from_tokenizer
from honed.models.engine import Completion, Engine, Sampling
from honed.models.load import LoadedModel
from honed.models.local import LocalEngine
from honed.records import Message
from tests.tiny import END, tiny_model, tiny_tokenizer

Prompt = Sequence[Message]


def ask(text: str, system: str = "") -> Prompt:
    return (*([Message(role="system", content=system)] if system else []), Message(role="user", content=text))


def tiny(model: torch.nn.Module | None = None, context: int = 512) -> LoadedModel:
    """The tiny model; its end-of-turn token is made likely, so that answers end at many different lengths."""
    model = model or tiny_model(3, context=context, tied=False)
    with torch.no_grad():
        model.lm_head.weight[257] *= 2
    return LoadedModel(model, from_tokenizer(tiny_tokenizer()), "tiny", "0", context)


def unequal(count: int, system: str = "") -> list[Prompt]:
    numbers = random.Random(0)
    return [ask("".join(numbers.choices("abc déf🎉 xyz", k=numbers.randint(1, 120))), system) for _ in range(count)]


def one_by_one(loaded: LoadedModel, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
    return [LocalEngine(loaded).generate([prompt], sampling)[0] for prompt in prompts]


def reference(loaded: LoadedModel, prompt: Prompt, tokens: int) -> list[int]:
    """Greedy ids by the plainest means: the whole sequence through the model for every token, no cache, no padding."""
    ids = loaded.chat.prompt_ids(prompt)
    start = len(ids)
    with torch.inference_mode():
        while len(ids) < start + tokens and (len(ids) == start or ids[-1] not in loaded.chat.stop_ids):
            ids.append(int(loaded.model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[start:]


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return tiny()


def test_the_local_engine_is_an_engine(loaded: LoadedModel) -> None:
    engine: Engine = LocalEngine(loaded)
    assert engine.generate([], Sampling()) == []


def test_greedy_answers_are_those_of_the_model_without_cache_or_padding(loaded: LoadedModel) -> None:
    prompts = unequal(12)
    completions = LocalEngine(loaded, 5).generate(prompts, Sampling(max_tokens=24))
    for prompt, completion in zip(prompts, completions, strict=True):
        ids = reference(loaded, prompt, 24)
        stopped = ids[-1] in loaded.chat.stop_ids
        assert completion.text == loaded.chat.decode(ids[:-1] if stopped else ids)
        assert completion.tokens == len(ids)
        assert completion.finish == ("stop" if stopped else "length")
    assert {completion.finish for completion in completions} == {"stop", "length"}


@pytest.mark.parametrize(
    ("sampling", "sizes"),
    [
        (Sampling(max_tokens=40), (3, 64)),
        (Sampling(max_tokens=40, temperature=1.0, seed=3), (1, 3, 8, 64)),
        (Sampling(max_tokens=40, temperature=0.8, top_p=0.9), (3, 64)),
        (Sampling(max_tokens=40, stop=("a",)), (3, 64)),
    ],
    ids=["greedy", "sampled", "nucleus", "stop text"],
)
def test_an_answer_does_not_depend_on_the_rows_beside_it(
    loaded: LoadedModel, sampling: Sampling, sizes: Sequence[int]
) -> None:
    """In a batch of 64 all begin at once, in one of 3 or 8 others take the places of those that end."""
    prompts = unequal(20)
    expected = one_by_one(loaded, prompts, sampling)
    for batch in sizes:
        assert LocalEngine(loaded, batch).generate(prompts, sampling) == expected, batch
    assert len({completion.tokens for completion in expected}) > 5  # rows ended at many different steps


def test_a_shared_beginning_computed_once_changes_no_answer(loaded: LoadedModel) -> None:
    prompts = unequal(12, system="You are the help desk of a bicycle shop. Answer briefly.")
    sampling = Sampling(max_tokens=30)
    assert LocalEngine(loaded, 4).generate(prompts, sampling) == one_by_one(loaded, prompts, sampling)


def test_equal_prompts_are_answered_equally(loaded: LoadedModel) -> None:
    completions = LocalEngine(loaded, 3).generate([ask("the same prompt, five times")] * 5, Sampling(max_tokens=9))
    assert len(set(completions)) == 1


def test_answers_longer_than_the_spare_columns_are_whole(loaded: LoadedModel) -> None:
    prompts, sampling = unequal(5), Sampling(max_tokens=300, temperature=2.0)
    expected = one_by_one(loaded, prompts, sampling)
    assert LocalEngine(loaded, 2).generate(prompts, sampling) == expected
    assert max(completion.tokens for completion in expected) > 200


def test_a_sliding_window_sees_what_it_would_see_without_padding() -> None:
    config = MistralConfig(
        vocab_size=259, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, sliding_window=16, initializer_range=0.3,
        eos_token_id=257, pad_token_id=258, bos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    loaded = tiny(MistralForCausalLM(config).eval())
    prompts = unequal(6, system="You are the help desk of a bicycle shop.")
    completions = LocalEngine(loaded, 4).generate(prompts, Sampling(max_tokens=20))
    for prompt, completion in zip(prompts, completions, strict=True):
        ids = reference(loaded, prompt, 20)
        assert completion.text == loaded.chat.decode(i for i in ids if i not in loaded.chat.stop_ids)


def test_a_model_whose_state_is_not_keys_and_values_is_refused() -> None:
    config = LlamaConfig(num_hidden_layers=1, hidden_size=8, num_attention_heads=1, vocab_size=259)
    config.layer_types = ["linear_attention"]
    model = LlamaForCausalLM(config)
    with pytest.raises(ModelError, match="another kind of state"):
        LocalEngine(tiny(model)).generate([ask("a")], Sampling())


def test_the_seed_decides_a_sampled_answer(loaded: LoadedModel) -> None:
    engine, prompts = LocalEngine(loaded), unequal(4)
    first = engine.generate(prompts, Sampling(max_tokens=20, temperature=1.5, seed=1))
    assert first == engine.generate(prompts, Sampling(max_tokens=20, temperature=1.5, seed=1))
    assert first != engine.generate(prompts, Sampling(max_tokens=20, temperature=1.5, seed=2))


def test_streaming_gives_the_text_of_generate_in_whole_characters(loaded: LoadedModel) -> None:
    engine, sampling = LocalEngine(loaded), Sampling(max_tokens=60, temperature=1.3)
    for prompt, completion in zip(unequal(8), engine.generate(unequal(8), sampling), strict=True):
        pieces = list(engine.stream(prompt, sampling))
        assert "".join(pieces) == completion.text
        assert all(pieces)


def test_streaming_does_not_leave_the_caller_in_inference_mode(loaded: LoadedModel) -> None:
    for _ in LocalEngine(loaded).stream(ask("hello"), Sampling(max_tokens=3, temperature=2.0)):
        assert not torch.is_inference_mode_enabled()


def test_a_stop_text_ends_the_answer_and_is_left_out(loaded: LoadedModel) -> None:
    engine, prompts = LocalEngine(loaded), unequal(10)
    free = engine.generate(prompts, Sampling(max_tokens=40, temperature=1.0))
    stop = Counter(c for completion in free for c in set(completion.text) if c != "�").most_common(1)[0][0]
    for without, with_stop in zip(
        free, engine.generate(prompts, Sampling(max_tokens=40, temperature=1.0, stop=(stop,))), strict=True
    ):
        assert with_stop.text == without.text.partition(stop)[0]
        assert with_stop.finish == ("stop" if stop in without.text else without.finish)
    assert sum(stop in completion.text for completion in free) > 1


def test_each_row_is_told_once_when_it_ends(loaded: LoadedModel) -> None:
    told: dict[int, Completion] = {}

    def on_done(row: int, completion: Completion) -> None:
        assert row not in told
        told[row] = completion

    completions = LocalEngine(loaded, 4).generate(unequal(9), Sampling(max_tokens=30), on_done)
    assert [told[row] for row in range(9)] == completions


def test_a_prompt_longer_than_the_context_names_its_row_before_anything_is_computed() -> None:
    loaded = tiny(context=64)
    loaded.model.forward = None
    with pytest.raises(ModelError, match=r"row 2: the prompt has \d+ tokens, and the model's context is 64") as error:
        LocalEngine(loaded).generate([ask("short"), ask("long " * 30)], Sampling())
    assert "63 tokens" in error.value.hint


def test_an_answer_ends_where_the_context_ends() -> None:
    loaded = tiny(tiny_model(5, context=48), context=48)
    prompt = ask("ab")
    room = 48 - len(loaded.chat.prompt_ids(prompt))
    completion = LocalEngine(loaded).generate([prompt], Sampling(max_tokens=500, temperature=5.0))[0]
    assert completion.tokens <= room


def test_the_stop_token_is_not_part_of_the_text(loaded: LoadedModel) -> None:
    for completion in LocalEngine(loaded).generate(unequal(10), Sampling(max_tokens=60)):
        assert END not in completion.text


@pytest.mark.embedded
def test_the_real_model_answers_a_batch_as_it_answers_one_by_one(embedded_model: LoadedModel) -> None:
    prompts = [
        ask("What is the capital of France?"),
        ask("Write one sentence about the sea, and then one about the mountains, for a child of six years."),
        ask("Translate to German: good morning", system="You are a translator. Answer with the translation only."),
        ask("Reply with an emoji."),
    ]
    sampling = Sampling(max_tokens=8)
    engine = LocalEngine(embedded_model, 3)
    completions = engine.generate(prompts, sampling)
    assert completions == one_by_one(embedded_model, prompts, sampling)
    assert "Paris" in completions[0].text
    assert "".join(engine.stream(prompts[3], sampling)) == completions[3].text
