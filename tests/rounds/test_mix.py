"""What a round trains on: no leak, no feedback of another day, the same rows every time."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from honed.records import Conversation, Message, Preference, Rating
from honed.rounds.mix import Source, mix


def turns(*texts: str) -> tuple[Message, ...]:
    return tuple(Message(role="assistant" if at % 2 else "user", content=text) for at, text in enumerate(texts))


def row(question: str, answer: str = "fine", *events: str) -> Conversation:
    return Conversation(messages=turns(question, answer), events=events)


def pair(question: str, *events: str) -> Preference:
    return Preference(prompt=turns(question), chosen="a", rejected="b", events=events)


def rating(question: str, *events: str) -> Rating:
    return Rating(prompt=turns(question), answer="a", good=True, events=events)


QUESTIONS = st.lists(st.sampled_from([f"q{n}" for n in range(12)]), max_size=20)


@given(
    fresh=QUESTIONS,
    old=QUESTIONS,
    held=st.sets(st.sampled_from([f"q{n}" for n in range(12)])),
    replay=st.integers(0, 9),
)
def test_no_held_out_prompt_is_trained_on_and_every_record_is_kept_or_listed(
    fresh: list[str], old: list[str], held: set[str], replay: int
) -> None:
    heldout = {row(text).prompt_id: "suite@v1" for text in held}
    feedback = Source("f@v1", [row(q, "x", f"e{q}") for q in fresh], [pair(q, f"e{q}") for q in fresh])
    made = mix(feedback, Source("d@v1", [row(q) for q in old]), heldout, replay)
    assert heldout.keys().isdisjoint(one.prompt_id for one in (*made.rows, *made.preferences))
    assert {one.prompt[-1].content for one in made.rows[: made.fresh]} == set(fresh) - held
    assert len(made.rows) - made.fresh == min(replay, len(set(old) - held))
    assert made.fresh_pairs == len(made.preferences) == len(set(fresh) - held)
    assert made.reasons.get("leak", 0) == 2 * sum(q in held for q in fresh) + sum(q in held for q in old)


def test_a_held_out_prompt_answered_on_the_way_is_a_leak_too() -> None:
    inside = Conversation(messages=turns("held", "secret", "and then?", "this"), events=("e",))
    made = mix(Source("f@v1", [inside, row("other", "x", "e")]), Source("d@v1"), {row("held").prompt_id: "s@v2"}, None)
    assert [one.prompt[0].content for one in made.rows] == ["other"]
    ((fault, text),) = made.left_out
    assert str(fault) == "f@v1:1: row: s@v2 holds this prompt out: to train on it would be a leak"
    assert "secret" in text


def test_replayed_rows_are_chosen_by_their_text_whatever_stands_around_them() -> None:
    rows = [row(f"question {n}") for n in range(50)]
    some = mix(Source("f@v1"), Source("d@v1", rows), {}, 10).rows
    turned = rows[:]
    random.Random(1).shuffle(turned)
    assert {one.id for one in mix(Source("f@v1"), Source("d@v1", turned), {}, 10).rows} == {one.id for one in some}
    assert [one.id for one in some] == [one.id for one in rows if one in some]  # in their stored order
    assert len(mix(Source("f@v1"), Source("d@v1", rows), {}, None).rows) == 50


def test_feedback_of_an_earlier_round_is_derived_anew_never_replayed() -> None:
    before = Source("d@v1", [row("a", "old", "e1"), row("b")], [pair("a", "e1"), pair("c")], [rating("a", "e1")])
    made = mix(Source("f@v1", [row("z", "new", "e2")]), before, {}, None)
    assert [one.prompt[0].content for one in made.rows] == ["z", "b"]
    assert [one.prompt[0].content for one in made.preferences] == ["c"]
    assert made.ratings == () and made.reasons == {"derived anew": 3}


def test_equal_records_are_one_that_names_every_event() -> None:
    feedback = Source("f@v1", [row("a", "x", "e1"), row("a", "x", "e2", "e1")], [pair("a", "e1"), pair("a", "e2")])
    made = mix(feedback, Source("d@v1", [row("a", "x"), row("a", "y")]), {}, None)
    assert [(one.answer, one.events) for one in made.rows] == [("x", ("e1", "e2")), ("y", ())]
    assert [one.events for one in made.preferences] == [("e1", "e2")]
    assert (made.fresh, made.fresh_pairs) == (1, 1)
