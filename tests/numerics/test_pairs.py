"""A pair has one supervised answer a side, and one that can't be used says why."""

from __future__ import annotations

import pytest

from honed.models.chat import Unusable
from honed.records import Message, Preference
from honed.train import pairs
from honed.train.rows import Limit
from tests.numerics.rows import chat


def preference(chosen: str, rejected: str) -> Preference:
    turns = [("user", "q1"), ("assistant", "a1"), ("user", "q2")]
    return Preference(prompt=tuple(Message(role=r, content=c) for r, c in turns), chosen=chosen, rejected=rejected)


def test_only_the_last_answer_of_a_pair_is_supervised() -> None:
    format_ = chat()
    pair = pairs.encode(preference("good", "bad"), format_, Limit(500))
    texts = [
        format_.decode([i for i, w in zip(row.ids, row.weights, strict=True) if w], special=True) for row in pair.rows
    ]
    assert texts == ["good<|im_end|>", "bad<|im_end|>"]


@pytest.mark.parametrize(
    ("chosen", "rejected", "kind", "words"),
    [
        ("same", "same", "same", "neither can be preferred"),
        ("x" * 300, "short", "too long", "the chosen answer: "),
        ("short", "x" * 300, "too long", "the rejected answer: "),
    ],
)
def test_a_pair_that_can_not_be_used_says_why(chosen: str, rejected: str, kind: str, words: str) -> None:
    with pytest.raises(Unusable, match=words) as caught:
        pairs.encode(preference(chosen, rejected), chat(), Limit(200))
    assert caught.value.kind == kind
