"""Tools go through a chat template that knows them, and are text elsewhere; training and serving see the same."""

from __future__ import annotations

from typing import Any

import pytest

from honed.data.shapes import table
from honed.data.shapes.drawn import Drawn
from honed.models.calls import as_text, with_tools
from honed.models.chat import ChatFormat, from_tokenizer
from honed.records import Conversation, Message, ToolCall
from tests.tiny import tiny_tokenizer

KNOWING = """{%- if tools -%}{{- '<|im_start|>system\\n' -}}{%- for tool in tools -%}{{- tool | tojson -}}{%- endfor -%}
{{- '<|im_end|>\\n' -}}{%- endif -%}
{%- for message in messages -%}{{- '<|im_start|>' + message.role + '\\n' + message.content -}}
{%- for call in message.tool_calls or [] -%}{{- '<call>' + call.function | tojson + '</call>' -}}{%- endfor -%}
{{- '<|im_end|>\\n' -}}{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"""

TOOL = {"name": "look", "description": "looks", "parameters": {"type": "object"}}
ROW = Conversation(
    messages=(
        Message(role="user", content="what is there?", tools=(TOOL,)),
        Message(role="assistant", content="", tool_calls=(ToolCall(name="look", arguments={"at": "x"}),)),
        Message(role="tool", content="a cat"),
        Message(role="tool", content="a dog"),
        Message(role="assistant", content="A cat and a dog."),
    )
)


@pytest.fixture
def knowing(monkeypatch: Any) -> ChatFormat:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = KNOWING
    return from_tokenizer(tokenizer)


def supervised(row: Conversation, chat: ChatFormat) -> str:
    encoded = chat.encode(row)
    return chat.decode([id_ for id_, weight in zip(encoded.ids, encoded.weights, strict=True) if weight], special=True)


def test_a_template_is_tried_for_tools(knowing: ChatFormat) -> None:
    assert knowing.speaks_tools
    assert not from_tokenizer(tiny_tokenizer()).speaks_tools


def test_a_template_that_knows_tools_writes_them(knowing: ChatFormat) -> None:
    text = knowing.render(ROW.messages, generation=False)
    assert '"description": "looks"' in text
    assert "<call>" in text
    assert "<|im_start|>tool\na cat" in text
    assert supervised(ROW, knowing).startswith("<call>")


def test_elsewhere_tools_are_text_and_the_calls_are_learned() -> None:
    chat = from_tokenizer(tiny_tokenizer())
    text = chat.render(ROW.messages, generation=False)
    assert "<|im_start|>system\nYou may call tools" in text
    assert "<tool_response>\na cat\n</tool_response>\n<tool_response>\na dog\n</tool_response>" in text
    assert supervised(ROW, chat) == (
        '<tool_call>\n{"name":"look","arguments":{"at":"x"}}\n</tool_call><|im_end|>A cat and a dog.<|im_end|>'
    )


def test_turns_as_text_are_of_the_three_roles_in_order() -> None:
    system = Message(role="system", content="be brief", tools=(TOOL,))
    said = as_text([system, ROW.messages[0].model_copy(update={"tools": ()}), *ROW.messages[1:]])
    assert [turn.role for turn in said] == ["system", "user", "assistant", "user", "assistant"]
    assert said[0].content.startswith("be brief\n\nYou may call tools")
    assert not with_tools(said)


def test_a_special_token_in_a_call_can_not_close_its_turn(knowing: ChatFormat) -> None:
    call = ToolCall(name="look", arguments={"at": ["<|im_end|>"], "<|im_end|>": 1})
    row = Conversation(messages=(ROW.messages[0], Message(role="assistant", content="", tool_calls=(call,))))
    for chat in (knowing, from_tokenizer(tiny_tokenizer())):
        alone = chat.render(row.messages[:1], generation=False).count("<|im_end|>")
        assert chat.render(row.messages, generation=False).count("<|im_end|>") == alone + 1


def test_rows_without_tools_are_rendered_as_before() -> None:
    chat = from_tokenizer(tiny_tokenizer())
    plain = (Message(role="user", content="q"), Message(role="assistant", content="a"))
    assert chat.render(plain, generation=False) == "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n"


OPENAI = {
    "messages": [
        {"role": "user", "content": "q"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "x"}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
        {"role": "assistant", "content": "A cat."},
    ],
    "tools": [{"type": "function", "function": TOOL}],
}
SHAREGPT = {
    "conversations": [
        {"from": "human", "value": "q"},
        {"from": "function_call", "value": '{"name": "look", "arguments": {"at": "x"}}'},
        {"from": "observation", "value": "a cat"},
        {"from": "gpt", "value": "A cat."},
    ],
    "tools": '[{"name": "look", "description": "looks", "parameters": {"type": "object"}}]',
}
FORMER = {
    "messages": [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": '{"at": "x"}'}},
        {"role": "function", "name": "look", "content": "a cat"},
        {"role": "assistant", "content": "A cat."},
    ],
    "functions": [TOOL],
}


@pytest.mark.parametrize("row", [OPENAI, SHAREGPT, FORMER])
def test_each_way_to_write_calls_becomes_the_same_row(row: dict[str, Any]) -> None:
    shape = table.shape_of(row)
    assert shape
    found = table.read(row, shape)
    (record,) = found.records
    assert isinstance(record, Drawn)
    said = record.record().messages
    assert said[0].tools == (TOOL,)
    assert (said[1].tool_calls[0].name, said[1].tool_calls[0].arguments) == ("look", {"at": "x"})
    assert [turn.role for turn in said] == ["user", "assistant", "tool", "assistant"]
    assert said[2].content == "a cat"
    assert found.ignored == []


@pytest.mark.parametrize(
    ("turn", "kind"),
    [
        ({"from": "function_call", "value": "no json"}, "bad tool call"),
        ({"from": "function_call", "value": '{"arguments": {}}'}, "bad tool call"),
        ({"from": "function_call", "value": '{"name": "look", "arguments": [1]}'}, "bad tool call"),
        ({"from": "gpt", "value": "", "tool_calls": {"name": "look"}}, "wrong type"),
    ],
)
def test_a_call_that_can_not_be_read_is_a_fault(turn: dict[str, Any], kind: str) -> None:
    found = table.read({"conversations": [{"from": "human", "value": "q"}, turn]}, "sharegpt")
    assert kind in [problem.kind for problem in found.problems]
