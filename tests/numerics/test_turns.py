"""Traps 5 to 8 where a template writes a turn in another way once turns follow: each answer as a server asks for it."""

from __future__ import annotations

import random
import string
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from transformers import BloomConfig, BloomForCausalLM

from honed.data.show import seen
from honed.errors import ModelError
from honed.models.chat import ChatFormat, Encoded, Unusable, from_tokenizer, shipped_templates
from honed.models.spelling import SEAM
from honed.records import Conversation, Message
from honed.store.datasets import Shard
from honed.train import prefixes
from honed.train.config import TrainConfig
from honed.train.defaults import Facts, resolve
from honed.train.head import MATRIX
from honed.train.heldout import HeldOut
from honed.train.layout import choose
from honed.train.objectives.sft import Sft
from honed.train.placement import Replicated
from honed.train.prepare import _apart
from honed.train.ranks import ALONE, Ranks
from honed.train.rows import Limit, Rows, encode, parted
from honed.train.source import Stream
from tests.numerics.rows import conversation, packed_model, reference_loss
from tests.tiny import END, START, TEMPLATE, THINKING, tiny_tokenizer

HEAD, CHANNEL, RETURN = "<|header|>", "<|channel|>", "<|return|>"

CHANNELS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}"
    "{% if m.role == 'assistant' %}<|channel|>final<|header|>{{ m.content }}"
    "{{ '<|return|>' if loop.last else '<|im_end|>' }}"
    "{% else %}<|header|>{{ m.content }}<|im_end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
)
"""In the manner of Harmony: marks stand before an answer too, and only the last turn ends in the stop."""

OPEN = TEMPLATE.replace("<|im_end|>", "{% if loop.last or message.role == 'user' %}<|im_end|>{% endif %}")
"""Earlier answers end in nothing, so that the next stop is that of the user's turn."""

BLOOM = BloomConfig(vocab_size=300, hidden_size=16, n_layer=1, n_head=2)
"""Of a model whose rows would mix in a pass."""

NAMES = {"channels": CHANNELS, "thinking": THINKING, "open": OPEN, "usual": TEMPLATE}
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=SEAM), max_size=12) | st.sampled_from(
    ["</think>b", "a<|return|>"]
)


@cache
def format_of(name: str) -> ChatFormat:
    tokenizer = tiny_tokenizer(NAMES.get(name))
    marks = [HEAD, CHANNEL, RETURN, "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    if name == "channels":
        tokenizer.eos_token = RETURN
    return from_tokenizer(tokenizer, template=None if name in NAMES else name)


def ids_of(format_: ChatFormat, *tokens: str) -> set[int]:
    return {format_.tokenizer.convert_tokens_to_ids(token) for token in tokens}


def learned(format_: ChatFormat, encoded: Encoded) -> list[tuple[tuple[int, ...], str, float]]:
    """What stands before each run of supervised tokens, what it spells, and its weight."""
    found = []
    for row in encoded.rows:
        for weight, run in groupby(range(len(row.ids)), key=row.weights.__getitem__):
            places = list(run)
            if weight:
                said = format_.decode(row.ids[places[0] : places[-1] + 1], special=True)
                found.append((row.ids[: places[0]], said, weight))
    return sorted(found)


def asked(format_: ChatFormat, row: Conversation) -> list[tuple[tuple[int, ...], str, float]]:
    """What a server feeds before each answer that carries a loss, and the answer with its stop, told by the texts."""
    stops = [format_.decode([stop], special=True) for stop in format_.stop_ids]
    found = []
    for place, turn in enumerate(row.messages):
        if turn.role == "assistant" and turn.weight:
            prompt = format_.render(row.messages[:place], generation=True)
            text = format_.render(row.messages[: place + 1], generation=False)
            assert text.startswith(prompt) and turn.content.split("</think>")[-1] in text.replace(SEAM, "")
            end = min(text.index(stop, len(prompt)) + len(stop) for stop in stops if stop in text[len(prompt) :])
            found.append(
                (
                    tuple(format_.prompt_ids(row.messages[:place])),
                    text[len(prompt) : end].replace(SEAM, ""),
                    turn.weight,
                )
            )
    return sorted(found)


@pytest.mark.parametrize("name", [*NAMES, *shipped_templates()])
@given(turns=st.lists(st.tuples(WORDS, WORDS, st.sampled_from([1.0, 0.0, 0.5])), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_every_answer_is_learned_with_its_stop_behind_what_a_server_feeds_and_nothing_else_is(
    name: str, turns: list[tuple[str, str, float]]
) -> None:
    format_ = format_of(name)
    row = Conversation(
        messages=tuple(
            turn
            for ask, answer, weight in turns
            for turn in (Message(role="user", content=ask), Message(role="assistant", content=answer, weight=weight))
        )
    )
    if not any(weight for *_, weight in turns):
        with pytest.raises(Unusable, match="no assistant token carries a loss"):
            format_.encode(row)
        return
    encoded = format_.encode(row)
    assert learned(format_, encoded) == asked(format_, row)
    assert all(one.supervised for one in encoded.rows)
    if name in ("usual", *shipped_templates()):
        assert encoded.apart == ()


def test_the_stop_is_the_token_behind_the_answer_not_the_first_one_behind_the_prompt() -> None:
    format_ = format_of("channels")
    assert format_.stop_ids == ids_of(format_, RETURN)
    assert from_tokenizer(tiny_tokenizer(CHANNELS.replace(RETURN, END))).stop_ids == ids_of(format_, END)
    (one,) = learned(format_, format_.encode(conversation("ask", "answer", system="s")))
    assert one[1] == "<|channel|>final<|header|>answer<|return|>"


def test_an_answer_that_later_turns_rewrite_is_learned_in_a_row_of_its_own_and_seen_as_later_turns_see_it() -> None:
    for name, alone, later in (
        ("channels", "<|channel|>final<|header|>a1<|return|>", "<|channel|>final<|header|>a1<|im_end|>"),
        ("thinking", "<think></think>a1<|im_end|>", "<|im_start|>assistant\na1<|im_end|>"),
    ):
        format_ = format_of(name)
        encoded = format_.encode(conversation("q1", "a1", "q2", "a2"))
        (apart,) = encoded.apart
        assert learned(format_, apart)[0][1] == alone
        ((before, said, _),) = learned(format_, Encoded(encoded.ids, encoded.weights))
        assert later in format_.decode(before, special=True) and "a2" in said


def test_an_earlier_turn_without_a_loss_may_end_as_it_likes() -> None:
    format_ = format_of("channels")
    row = conversation("q1", "a1", "q2", "a2")
    first = row.messages[1].model_copy(update={"weight": 0.0})
    encoded = format_.encode(row.model_copy(update={"messages": (row.messages[0], first, *row.messages[2:])}))
    assert encoded.apart == () and [one[1] for one in learned(format_, encoded)] == [
        "<|channel|>final<|header|>a2<|return|>"
    ]


def test_no_token_of_a_user_is_learned_where_an_earlier_answer_ends_in_nothing() -> None:
    format_ = format_of("open")
    encoded = format_.encode(conversation("q1", "a1", "q2", "a2"))
    assert [one[1] for one in learned(format_, encoded)] == ["a1<|im_end|>", "a2<|im_end|>"]


def test_a_turn_that_no_stop_ends_is_named() -> None:
    silent = TEMPLATE.replace("<|im_end|>", "{% if message.content != 'x' %}<|im_end|>{% endif %}")
    with pytest.raises(Unusable, match="turn 2: no stop id ends it") as caught:
        from_tokenizer(tiny_tokenizer(silent)).encode(conversation("q", "x", "q", "a"))
    assert caught.value.kind == "stop"


def test_a_stop_that_swallows_the_line_break_behind_it_ends_its_turn() -> None:
    tokenizer = tiny_tokenizer(
        "{% for m in messages %}{{ '' if loop.first else '\n' }}<|im_start|>{{ m.role }}\n{{ m.content }}<|stop|>"
        "{% endfor %}{% if add_generation_prompt %}\n<|im_start|>assistant\n{% endif %}"
    )
    tokenizer.add_special_tokens({"eos_token": AddedToken("<|stop|>", rstrip=True, normalized=False, special=True)})
    format_ = from_tokenizer(tokenizer)
    encoded = format_.encode(conversation("q1", "a1", "q2", "a2"))
    assert encoded.apart == () and [one[1] for one in learned(format_, encoded)] == ["a1<|stop|>", "a2<|stop|>"]


def test_a_stop_id_before_the_answer_is_refused_by_name_and_said_how_to_mend() -> None:
    tokenizer = format_of("channels").tokenizer
    (channel,) = ids_of(format_of("channels"), CHANNEL)
    with pytest.raises(ModelError, match=rf"writes <\|channel\|> \({channel}\), a stop id, before") as caught:
        from_tokenizer(tokenizer, stop_ids=[channel])
    assert "Take it out of eos_token_id" in caught.value.hint
    (start,) = ids_of(format_of("channels"), START)
    assert start in from_tokenizer(tokenizer, stop_ids=[start]).stop_ids  # it stands in the prompt, which nobody stops


def test_a_template_that_leaves_out_the_answer_is_refused() -> None:
    deaf = TEMPLATE.replace("message['content']", "message['content'] if message['role'] == 'user' else ''")
    with pytest.raises(ModelError, match="leaves out what the assistant says"):
        from_tokenizer(tiny_tokenizer(deaf))


def test_an_answer_in_a_row_of_its_own_that_is_too_long_leaves_its_row_out_by_name() -> None:
    row = conversation("q1", "r" * 50 + "</think>a1", "q2", "a2")
    format_ = format_of("thinking")
    whole, apart = (len(one.ids) for one in format_.encode(row).rows)
    assert whole < apart
    assert encode([row], format_, Limit(apart)).names == (row.id,)
    (one,) = encode([row], format_, Limit(apart - 1)).left_out
    assert (one["row"], one["kind"], one["message"][:9]) == (row.id, "too long", f"{apart} tokens")


@pytest.mark.parametrize("share", [True, False])
def test_the_loss_of_a_row_is_the_sum_over_its_answers_wherever_they_are_learned(share: bool) -> None:
    model, format_ = packed_model(), format_of("thinking")
    rows = [format_.encode(conversation(*texts)) for texts in (("q1", "one", "q2", "two", "q3", "three"), ("q", "a"))]
    each = [one for row in rows for one in row.rows]
    assert len(each) == 4
    with torch.no_grad():
        expected = sum(float(reference_loss(model, one)) for one in each)
        sft = Sft(MATRIX, share)
        pack = sft.collate(rows)
        assert float(sft.loss(model, pack)) == pytest.approx(expected, rel=1e-5)
        heldout = HeldOut(rows, sft, packed=True, device="cpu", pack_tokens=200)
        assert heldout.loss(Replicated(model, Ranks())) == pytest.approx(expected / pack.weight, rel=1e-5)
    assert pack.weight == sum(one.supervised for one in each)


def test_rows_are_shown_as_they_are_learned() -> None:
    shown = seen(conversation("q1", "a1", "q2", "a2"), format_of("channels"))
    said = [text for one in shown for text, supervised in one.pieces if supervised]
    assert said == ["<|channel|>final<|header|>a2<|return|>", "<|channel|>final<|header|>a1<|return|>"]
    assert all(one.stops == (f"<|return|> ({min(format_of('channels').stop_ids)})",) for one in shown)


def test_where_rows_would_mix_in_a_pass_answers_in_rows_of_their_own_are_examples_of_their_own() -> None:
    format_ = format_of("thinking")
    turns = [message for at in range(2) for message in conversation(f"what is {at}?", f"<think>x</think>{at}").messages]
    some = encode([Conversation(messages=tuple(turns))], format_, Limit(1000))
    (row,) = some.encoded
    assert row.apart
    mixing = BloomForCausalLM(BLOOM)

    def apart(rows: Any, model: Any, **asked: Any) -> Any:
        base: Any = SimpleNamespace(model=model, chat=format_)
        return _apart(TrainConfig(base="b", data="d", **asked), rows, base, ALONE, None)

    assert format_.rewrites and not format_of("usual").rewrites
    assert apart(some, packed_model()) == some
    for asked in ({"packing": False}, {"sharing": False}, {"neftune_alpha": 5.0}):  # a pass would have all of them
        assert apart(some, packed_model(), **asked).parts == len(row.apart)
    found = apart(some, mixing)
    assert isinstance(found, Rows) and [one.rows for one in found.encoded] == [(one,) for one in found.encoded]
    assert [(one.ids, one.weights) for one in found.encoded] == [(one.ids, one.weights) for one in row.rows]
    assert found.names == some.names * len(row.rows) and found.count == some.count == 1
    plain = encode([conversation("q", "a")], format_, Limit(1000))
    for sample in (some, plain):  # a sample may have none of the rows that come later
        stream: Any = Stream([Shard(0, 0, 10)], lambda _wanted: some, sample)
        for made in (mixing, *([packed_model()] if sample is plain else [])):
            read = apart(stream, made)
            assert isinstance(read, Stream) and read.read([]).encoded == found.encoded
            assert read.tokens == stream.tokens
    assert apart(Stream([Shard(0, 0, 10)], lambda _wanted: some, some), packed_model()).read([]) == some


def test_a_stream_is_read_in_rows_that_do_not_mix_though_a_look_at_the_template_shows_none_apart() -> None:
    late = TEMPLATE.replace(
        "message['content']", "(message['content'] if loop.last else message.content.split('>')[-1])"
    )
    format_ = from_tokenizer(tiny_tokenizer(late))
    rows = [conversation("q", "a"), conversation("q1", "<think>x</think>a1", "q2", "a2")]
    plain, some = (encode([row], format_, Limit(1000)) for row in rows)
    assert not plain.encoded[0].apart and some.encoded[0].apart
    base: Any = SimpleNamespace(model=BloomForCausalLM(BLOOM), chat=format_)
    stream: Any = Stream([Shard(0, 0, 10)], lambda _wanted: some, plain)
    read: Any = _apart(TrainConfig(base="b", data="d"), stream, base, ALONE, None)
    assert [one.rows for one in read.read([]).encoded] == [(Encoded(r.ids, r.weights),) for r in some.encoded[0].rows]


def reasoned(turns: int) -> Conversation:
    """A chat whose every answer has a hundred letters of reasoning, which are other ones each time."""
    said = (f"<think>{'abcdefghijkl'[turn] * 100}</think>a" for turn in range(turns))
    return conversation(*(text for answer in said for text in ("q", answer)))


def test_a_conversation_with_rows_apart_is_examples_that_each_compute_no_more_tokens_than_its_longest_row() -> None:
    some = encode([reasoned(12)], format_of("thinking"), Limit(400))
    (row,) = some.encoded
    longest = max(len(one.ids) for one in row.rows)
    assert len(row.rows) == 12 and prefixes.sort([row]).costs[0] > 4 * longest
    cut = parted(some, 1)
    costs = prefixes.sort(cut.encoded).costs
    assert max(costs) <= longest <= 400 and len(costs) < 12
    assert max(Sft(MATRIX).collate([one]).tokens for one in cut.encoded) <= longest
    assert sorted((r.ids, r.weights) for one in cut.encoded for r in one.rows) == sorted(
        (r.ids, r.weights) for r in row.rows
    )
    assert cut.count == some.count == 1 and set(cut.names) == set(some.names) and sum(cut.lengths) == sum(some.lengths)
    assert sum(costs) < sum(prefixes.sort(parted(some).encoded).costs)
    assert parted(encode([reasoned(2)], format_of("thinking"), Limit(400)), 1).parts == 1
    short = encode([reasoned(2), reasoned(12)], format_of("thinking"), Limit(400))
    assert parted(short, 1).encoded[0] == short.encoded[0]


def test_no_pass_is_larger_than_asked_for_or_than_the_longest_row_though_few_rows_of_many_share_anything() -> None:
    model, drawn = packed_model(), random.Random(0)
    words = ("".join(drawn.choices(string.ascii_letters, k=760)) for _ in range(140))
    rows = [*(conversation(word, "a") for word in words), reasoned(8)]
    some = encode(rows, format_of("thinking"), Limit(800))
    base: Any = SimpleNamespace(model=model, chat=format_of("thinking"))
    config = TrainConfig(base="b", data="d", epochs=1, batch_tokens=4000, pack_tokens=600, weights="full")
    train: Any = _apart(config, some, base, ALONE, 600)
    assert any(len(one.rows) > 1 for one in train.encoded) and train.count == 141
    facts = Facts(1, train.count, sum(train.lengths), 10**10, "cpu", "fp32", "")
    made = choose(model, train.encoded, config, resolve(config, facts))
    sft = Sft(MATRIX, made.shared)
    sizes = [sft.collate([train.encoded[at] for at in pack]).tokens for step in made.steps for pack in step.packs]
    assert max(sizes) <= max(len(one.ids) for row in some.encoded for one in row.rows) <= 800


def test_a_template_that_writes_the_date_writes_that_of_the_clock_it_is_given() -> None:
    dated = "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% endif %}" + TEMPLATE
    plain = from_tokenizer(tiny_tokenizer(dated))
    turns = conversation("q", "a").messages
    assert plain.render(turns, generation=False).startswith(datetime.now().strftime("%d %b "))
    then = replace(plain, clock=datetime(2024, 7, 26, tzinfo=UTC))
    assert then.render(turns, generation=False).startswith("26 Jul 2024") and then.hash == plain.hash


def test_what_a_conversation_with_rows_apart_computes_is_counted_as_it_is_laid_out() -> None:
    texts = [f"{at} {'word ' * 12}" for at in range(10)]
    row = format_of("thinking").encode(conversation(*texts))
    assert len(row.apart) == 4
    table = prefixes.sort([row])
    assert table.tokens([0]) == Sft(MATRIX).collate([row]).tokens < sum(len(one.ids) for one in row.rows)
