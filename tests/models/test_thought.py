"""Reasoning and answer told apart: whole, piece by piece, by marks that are text or special tokens, in the engines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from honed.models.chat import ChatFormat, from_tokenizer
from honed.models.engine import Reasoning, Sampling
from honed.models.load import LoadedModel
from honed.models.local import LocalEngine
from honed.models.pieces import Pieces
from honed.models.thought import MARKS, WRITTEN, Splitter, Thought, rule, split, thought_of
from honed.records import Message
from tests.models.spoken import say
from tests.tiny import END, TEMPLATE, THINKING, tiny_model, tiny_tokenizer

FINAL = "<|channel|>final<|message|>"
HARMONY = TEMPLATE.replace("{{ message['content'] }}", FINAL + "{{ message['content'] }}").replace(
    "assistant\n", "assistant"
)
OPENED = THINKING.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
"""In the manner of QwQ and R1: the prompt opens the reasoning."""
TOKENS = ["<|start|>", "<|end|>", "<|channel|>", "<|message|>", "<|constrain|>", "[THINK]", "[/THINK]", "<think>"]

KINDS = [kind for mark in (*(closing for _, closing in MARKS), FINAL) if (kind := thought_of(mark, tiny_tokenizer()))]
PARTS = ["\n", " ", "a", "<", "|", *(mark for kind in KINDS for mark in (*kind.opening, *kind.closing))]


def chat_of(template: str, special: tuple[str, ...] = ()) -> ChatFormat:
    tokenizer = tiny_tokenizer(template)
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    return from_tokenizer(tokenizer)


def read(chat: ChatFormat, text: str, stop: tuple[str, ...] = (), prompt: str = "") -> tuple[str, str]:
    """What a row's tokens become: the reasoning and the answer."""
    ids = chat.tokenizer(text, add_special_tokens=False)["input_ids"]
    pieces = Pieces(chat, stop, chat.tokenizer(prompt, add_special_tokens=False)["input_ids"])
    made = []
    for token in ids:
        made.append(pieces.add(token))
        if pieces.stopped:
            break
    return "".join(pieces.reasoning), "".join([*made, pieces.end()])


def loaded(template: str) -> LoadedModel:
    return LoadedModel(tiny_model(), from_tokenizer(tiny_tokenizer(template)), "tiny", "0", 512)


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("<think>\n\n</think>\n\n42", "", "42"),
        ("<think>\nSix\n\ntimes 7.\n</think>\n\n42\n", "Six\n\ntimes 7.", "42\n"),
        (" \n<think>a</think>b", "a", "b"),
        ("</think>\n\n42", "", "42"),
        ("<think>never ends\n", "never ends", ""),
        ("<think>never ends </thin", "never ends </thin", ""),
        ("42", "", "42"),
        ("\n 42\n", "", "\n 42\n"),
        ("The tag <think>a</think> is HTML's.", "", "The tag <think>a</think> is HTML's."),
        ("<think>a</think>b <think>c</think>", "a", "b <think>c</think>"),
        ("<thi", "", "<thi"),
        ("", "", ""),
    ],
)
def test_reasoning_is_what_stands_between_the_marks_at_a_texts_beginning(
    text: str, reasoning: str, answer: str
) -> None:
    assert split(text, WRITTEN, opened=False) == (reasoning, answer)


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("\nSix times 7.\n</think>\n\n42", "Six times 7.", "42"),
        ("<think>again</think>42", "again", "42"),
        ("never ends", "never ends", ""),
    ],
)
def test_where_the_prompt_opened_it_all_up_to_the_closing_mark_is_reasoning(
    text: str, reasoning: str, answer: str
) -> None:
    assert split(text, WRITTEN, opened=True) == (reasoning, answer)


@given(st.lists(st.sampled_from(PARTS), max_size=8), st.sampled_from(KINDS), st.booleans(), st.data())
def test_however_a_text_is_cut_into_pieces_its_reasoning_and_answer_are_those_of_the_whole(
    parts: list[str], kind: Thought, opened: bool, data: st.DataObject
) -> None:
    text = "".join(parts)
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    cuts = data.draw(st.sampled_from([places, list(range(len(text)))]))
    splitter = Splitter(kind, opened=opened)
    found = [splitter.add(text[start:end]) for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    found.append(splitter.end())
    reasoning, answer = ("".join(part) for part in zip(*found, strict=True))
    assert (reasoning, answer) == split(text, kind, opened=opened)
    assert text.endswith(answer)


def test_a_template_without_marks_leaves_every_text_whole() -> None:
    chat = chat_of(TEMPLATE)
    assert chat.thought is None and rule(chat.thought) == ()
    assert read(chat, "<think>a</think>b") == ("", "<think>a</think>b")


def test_a_prompt_that_ends_with_the_opening_mark_opens_the_reasoning() -> None:
    chat = chat_of(THINKING)
    assert read(chat, "a</think>b", prompt="assistant\n<think>\n") == ("a", "b")
    assert read(chat, "a</think>b", prompt="assistant\n<think>\n\n</think>\n\n") == ("", "a</think>b")


def test_marks_that_are_special_tokens_are_seen_and_no_other_special_token_is() -> None:
    mistral = chat_of(TEMPLATE + "{# [THINK] [/THINK] #}", tuple(TOKENS))
    assert read(mistral, "[THINK]a<|end|>b[/THINK]c<|pad|>d") == ("ab", "cd")
    plain = chat_of(THINKING)
    assert plain.thought is not None and plain.thought.hidden is None  # decoding is what it was


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        (f"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant{FINAL}Hello", "Hm.", "Hello"),
        (f"<|channel|>commentary<|message|>Hm.<|end|><|start|>assistant{FINAL}Hello", "Hm.", "Hello"),
        (f"{FINAL}Hello", "", "Hello"),
        ("<|channel|>analysis<|message|>Hm", "Hm", ""),
        ("Hello", "", "Hello"),
    ],
)
def test_of_harmonys_channels_the_final_one_is_the_answer(text: str, reasoning: str, answer: str) -> None:
    assert read(chat_of(HARMONY, tuple(TOKENS)), text) == (reasoning, answer)


def test_a_stop_text_ends_the_answer_and_not_the_reasoning() -> None:
    assert read(chat_of(THINKING), "<think>\n\na\n\n</think>\n\n4\n\n2", stop=("\n\n",)) == ("a", "4")


def test_an_engine_gives_the_answer_apart_and_counts_all_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded(THINKING)
    count = say(monkeypatch, model.chat, f"<think>\nSix times 7.\n</think>\n\n42{END}")
    prompt = (Message(role="user", content="6 x 7?"),)
    (made,) = LocalEngine(model).generate([prompt], Sampling(max_tokens=100))
    assert (made.text, made.reasoning, made.tokens, made.finish) == ("42", "Six times 7.", count, "stop")
    pieces = list(LocalEngine(model).stream(prompt, Sampling(max_tokens=100)))
    first = next(at for at, piece in enumerate(pieces) if isinstance(piece, str))
    assert "".join(piece.text for piece in pieces[:first] if isinstance(piece, Reasoning)) == "Six times 7."
    assert "".join(str(piece) for piece in pieces[first:]) == "42"


def test_an_answer_that_is_cut_in_its_reasoning_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded(OPENED)
    say(monkeypatch, model.chat, f"Six times seven is</think>42{END}")
    (made,) = LocalEngine(model).generate([(Message(role="user", content="6 x 7?"),)], Sampling(max_tokens=9))
    assert (made.text, made.reasoning, made.finish) == ("", "Six times", "length")
