"""Traps 5 to 8 where a template asks for an answer in another way than it writes one: learned as a server asks for it.

The templates are those of the families that they are named after, with the lines that matter here.
"""

from __future__ import annotations

from functools import cache

import pytest
from tokenizers import AddedToken

from honed.errors import ModelError
from honed.models.chat import ChatFormat, Unusable, from_tokenizer
from honed.records import Conversation, ToolCall
from tests.numerics.rows import conversation
from tests.tiny import END, TEMPLATE, tiny_tokenizer

_USER = (
    "{% for m in messages %}{% if m.role != 'assistant' %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% else %}"
)
_ENDS = "<|im_end|>\n{% endif %}{% endfor %}"

R1 = (
    "{% for m in messages %}{% if m.role == 'user' %}<User>{{ m.content }}{% else %}"
    "<Assistant>{{ m.content.split('</think>')[-1] }}<|im_end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<Assistant><think>\n{% endif %}"
)
THINKS = (
    _USER + "<|im_start|>assistant\n{% set parts = m.content.split('</think>') %}"
    "{% if loop.last %}<think>\n{{ (parts[0].split('<think>')[-1] if parts|length > 1 else '').strip('\n') }}"
    "\n</think>\n\n{% endif %}{{ parts[-1].lstrip('\n') }}"
    + _ENDS
    + "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
OLMO = (
    _USER
    + "<|im_start|>assistant\n{{ m.content }}"
    + _ENDS
    + "{% if add_generation_prompt %}<|im_start|>assistant\n<think>{% endif %}"
)
CHANNEL = (
    _USER
    + "<|im_start|>model\n{{ m.content }}"
    + _ENDS
    + "{% if add_generation_prompt %}<|im_start|>model\n<|channel>thought\n<channel|>{% endif %}"
)
INST = (
    "{% set told = messages[0].content if messages[0].role == 'system' else '' %}{% for m in messages %}"
    "{% if m.role == 'user' %}[INST] {{ told + '\n\n' if loop.last and told else '' }}{{ m.content }}[/INST]"
    "{% elif m.role == 'assistant' %} {{ m.content }}<|im_end|>{% endif %}{% endfor %}"
)
GLM = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
NEXT = ("<|user|>", "<|assistant|>", "<|observation|>")


@cache
def format_of(template: str) -> ChatFormat:
    tokenizer = tiny_tokenizer(template, merges=[("Ċ", "Ċ")])
    tokenizer.add_tokens(
        [AddedToken(one, normalized=False, special=False) for one in ("<think>", "</think>", "<User>", "<Assistant>")]
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(NEXT)})
    return from_tokenizer(
        tokenizer, stop_ids=tokenizer.convert_tokens_to_ids([NEXT[0], NEXT[2]]) if template == GLM else ()
    )


def said(format_: ChatFormat, row: Conversation) -> list[str]:
    """What is learned of each answer, in the order of the answers; each stands behind what a server feeds."""
    found = {}
    prompts = {
        tuple(format_.prompt_ids(row.messages[:place])): place
        for place, turn in enumerate(row.messages)
        if turn.role == "assistant"
    }
    for one in format_.encode(row).rows:
        for prompt, place in prompts.items():
            end = next((at for at in range(len(prompt), len(one.ids)) if not one.weights[at]), len(one.ids))
            if one.ids[: len(prompt)] == prompt and end > len(prompt):
                assert place not in found
                found[place] = format_.decode(one.ids[len(prompt) : end], special=True)
    assert sum(one.supervised for one in format_.encode(row).rows) == sum(
        len(format_._spelling.ids(text)) for text in found.values()
    )
    return [found[place] for place in sorted(found)]


@pytest.mark.parametrize(
    ("template", "answer", "learned"),
    [
        (R1, "a", f"\n</think>\n\na{END}"),
        (R1, "<think>\nr\n</think>\n\na", f"r\n</think>\n\na{END}"),
        (R1, "r</think>a", f"r</think>a{END}"),
        (THINKS, "a", f"\n</think>\n\na{END}"),
        (THINKS, "<think>\nr\n</think>\n\na", f"r\n</think>\n\na{END}"),
        (OLMO, "a", f"\n</think>\n\na{END}"),
        (OLMO, "<think>r</think>a", f"r</think>a{END}"),
        (CHANNEL, "a", f"a{END}"),
        (INST, "a", f" a{END}"),
        (GLM, "a", "a<|user|>"),
    ],
)
def test_an_answer_is_learned_behind_what_a_server_feeds_with_its_thought_or_an_empty_one(
    template: str, answer: str, learned: str
) -> None:
    format_ = format_of(template)
    assert said(format_, conversation("q", answer)) == [learned]
    if template in (INST, OLMO, CHANNEL):
        assert said(format_, conversation("q", answer, system="be brief")) == [learned]
    several = said(format_, conversation("q1", answer, "q2", answer))
    assert several == [learned, learned]


def test_marks_of_a_thought_are_tokens_in_an_answer_wherever_a_template_has_them() -> None:
    told = TEMPLATE.replace("{% for", "Think: <think> ... </think>\n{% for", 1)
    for template, special in ((told, False), (told, True)):
        tokenizer = tiny_tokenizer(template)
        marks = [AddedToken(one, normalized=False, special=special) for one in ("<think>", "</think>")]
        tokenizer.add_tokens(list(marks), special_tokens=special)
        encoded = from_tokenizer(tokenizer).encode(conversation("q", "<think>r</think>a"))
        learned = [token for token, weight in zip(encoded.ids, encoded.weights, strict=True) if weight]
        assert set(tokenizer.convert_tokens_to_ids(["<think>", "</think>"])) <= set(learned)


@pytest.mark.parametrize("template", [R1, OLMO])
def test_a_call_behind_a_thought_is_learned_as_the_template_writes_it(template: str) -> None:
    call = ToolCall(name="look", arguments={"x": 1})
    for thought, begins in (("", "\n</think>\n\n"), ("<think>\nr\n</think>\n\n", "\nr\n</think>")):
        row = conversation("q", thought)
        calling = row.messages[1].model_copy(update={"tool_calls": (call,)})
        (learned,) = said(format_of(template), row.model_copy(update={"messages": (row.messages[0], calling)}))
        assert learned.startswith(begins.removeprefix("\n" if thought and template == R1 else ""))
        assert '"x":1' in learned and learned.endswith(END)


def test_the_first_characters_of_an_answer_may_merge_with_the_header() -> None:
    format_ = from_tokenizer(tiny_tokenizer(merges=[("Ċ", "Ċ")]))
    row = conversation("q", "\nHi")
    (whole,) = format_.encode(row).rows
    prompt = format_.prompt_ids(row.prompt)
    assert list(whole.ids[: len(prompt)]) == prompt and format_.decode(whole.ids[len(prompt) :]) == "\nHi\n"
    assert format_.decode([token for token, weight in zip(whole.ids, whole.weights, strict=True) if weight]) == "\nHi"


def test_an_answer_ended_by_the_next_turns_mark_is_ended_by_the_mark_of_whatever_turn_comes_next() -> None:
    format_ = format_of(GLM)
    assert format_.closing == "<|user|>"
    row = conversation("q", "call", "result", "done")
    turns = [
        *row.messages[:2],
        row.messages[2].model_copy(update={"role": "tool", "tool_call_id": "c"}),
        row.messages[3],
    ]
    told = Conversation.model_construct(messages=tuple(turns))
    whole = format_._spelling.placed(
        "<|user|>\nq<|assistant|>\ncall<|observation|>\nresult<|assistant|>\ndone" + format_.closing
    )
    first = format_._learned(told.messages[:2], whole)
    assert format_.decode(
        [one for one, weight in zip(first.ids, first.weights, strict=True) if weight], special=True
    ) == ("call<|observation|>")
    tokenizer = tiny_tokenizer(GLM)
    tokenizer.add_special_tokens({"additional_special_tokens": list(NEXT)})
    with pytest.raises(ModelError, match="never stop"):  # no stop id names the mark: a server would write on
        from_tokenizer(tokenizer)


def test_a_template_that_takes_one_turn_only_is_loaded_and_learned() -> None:
    single = "{% if messages|length > 2 %}{{ raise_exception('one turn only') }}{% endif %}" + TEMPLATE
    format_ = from_tokenizer(tiny_tokenizer(single))
    assert said(format_, conversation("q", "a")) == [f"a{END}"]


def test_a_template_that_rewrites_what_comes_before_an_answer_is_refused_with_a_way_out() -> None:
    renaming = (
        "{% for m in messages %}<|im_start|>{{ m.role }}{{ '!' if m.role == 'assistant' }}\n{{ m.content }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant?\n{% endif %}"
    )
    with pytest.raises(Unusable, match="is not the beginning") as caught:
        from_tokenizer(tiny_tokenizer(renaming)).encode(conversation("q", "a"))
    assert caught.value.kind == "prefix" and "--set template=" in caught.value.hint


def test_answers_that_only_lose_their_reasoning_are_told_to_be_rewritten() -> None:
    dropping = THINKS.replace("{% if loop.last %}<think>", "{% if loop.last and parts|length > 1 %}<think>")
    assert format_of(dropping.replace("assistant\n<think>\n{% endif %}", "assistant\n{% endif %}")).rewrites
