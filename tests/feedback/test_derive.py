"""From feedback to records: pure, in any order the same, nothing without consent, nothing dropped silently."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from honed.feedback import derive as module
from honed.feedback.derive import DeriveConfig, Derived, allowed, derive
from honed.records import Consent, FeedbackEvent, Interaction, Message
from tests.store.said import PROMPT, answer, choice, consent, edit, thumb

_PEOPLE = ("ann", "bob", "eve")
_ANY = DeriveConfig()


def _one(*events: FeedbackEvent, answers: tuple[Interaction, ...] = (), settings: DeriveConfig = _ANY) -> Derived:
    return derive(answers or (answer(),), events, [consent()], settings)


def _reasons(derived: Derived) -> dict[str, str]:
    return {one.event: one.reason for one in derived.left_out}


# Worlds small enough that people, answers and kinds meet in every way.

_ANSWERS = some.builds(
    answer,
    some.sampled_from(["i1", "i2", "i3", "i4"]),
    subject=some.sampled_from(_PEOPLE),
    model=some.sampled_from(["desk@v1", "desk@v2", "till@v1"]),
    answer=some.sampled_from(["12 euros", "12.00 euros", "", "N\0L"]),
    finish=some.sampled_from(["stop", "stop", "length", "cancelled"]),
    prompt=some.sampled_from([PROMPT, PROMPT, PROMPT[1:], PROMPT[:3]]),
    simulated=some.booleans(),
)
_TIMES = some.integers(1, 6).map(float)
_SAID = {
    "id_": some.integers(1, 12).map("f{}".format),
    "about": some.sampled_from(["i1", "i2", "i3", "i4", "gone"]),
    "subject": some.sampled_from(_PEOPLE),
    "created": _TIMES,
}
_EVENTS = some.one_of(
    some.builds(thumb, **_SAID, good=some.booleans()),
    some.builds(edit, **_SAID, text=some.sampled_from(["12.00 euros", "better", " ", "a\0b"])),
    some.builds(choice, **_SAID, over=some.sampled_from(["i1", "i2", "i3", "gone"])),
)
_CONSENTS = some.builds(consent, some.sampled_from(_PEOPLE), granted=some.booleans(), created=_TIMES)


def _distinct(strategy: some.SearchStrategy, size: int) -> some.SearchStrategy:
    return some.lists(strategy, max_size=size, unique_by=lambda one: one.id)


_WORLDS = some.tuples(
    _distinct(_ANSWERS, 4),
    _distinct(_EVENTS, 12),
    some.lists(_CONSENTS, max_size=6),
    some.builds(
        DeriveConfig,
        per_person=some.integers(1, 4),
        models=some.sampled_from([(), ("desk",), ("desk@v2", "till")]),
    ),
)
_World = tuple[list[Interaction], list[FeedbackEvent], list[Consent], DeriveConfig]


def _records(derived: Derived) -> list:
    return [*derived.rows, *derived.preferences, *derived.ratings]


@settings(deadline=None)
@given(_WORLDS, some.randoms(use_true_random=False))
def test_the_order_of_what_comes_in_changes_nothing(world: _World, random) -> None:
    *inputs, settings = world
    shuffled = [random.sample(records, len(records)) for records in inputs]
    assert derive(*shuffled, settings) == derive(*inputs, settings)


@settings(deadline=None)
@given(_WORLDS)
def test_the_same_input_gives_the_same_output_and_stays_as_it_was(world: _World) -> None:
    before = [[one.model_copy() for one in records] for records in world[:3]]
    first = derive(*world)
    assert derive(*world) == first
    assert [list(records) for records in world[:3]] == before
    assert derive(*(iter(records) for records in world[:3]), world[3]) == first


@settings(deadline=None)
@given(_WORLDS)
def test_what_is_said_twice_with_one_id_is_said_once(world: _World) -> None:
    answers, events, consents, settings = world
    assert derive(answers, events + events, consents + consents, settings) == derive(*world)


@settings(deadline=None)
@given(_WORLDS)
def test_nothing_comes_of_people_who_do_not_allow_it(world: _World) -> None:
    answers, events, consents, _ = world
    derived = derive(*world)
    person = {one.id: one.subject for one in (*answers, *events)}
    newest: dict[str, tuple[float, bool]] = {}
    for one in consents:
        newest[one.subject] = max(newest.get(one.subject, (0.0, False)), (one.created, not one.granted))
    allowing = {subject for subject, (_, refused) in newest.items() if not refused}
    assert allowed(consents) == allowing
    assert {person[event] for record in _records(derived) for event in record.events} <= allowing


@settings(deadline=None)
@given(_WORLDS)
def test_every_event_is_in_a_record_or_listed_with_its_reason(world: _World) -> None:
    derived = derive(*world)
    used = {record.events[-1] for record in _records(derived)}
    left = Counter(one.event for one in derived.left_out)
    assert used | set(left) == {event.id for event in world[1]}
    assert used & set(left) == set()
    assert set(left.values()) <= {1}
    assert all(one.reason for one in derived.left_out)


@settings(deadline=None)
@given(_WORLDS)
def test_every_record_names_the_answers_and_the_event_it_is_from(world: _World) -> None:
    answers = {one.id: one for one in world[0]}
    events = {one.id: one for one in world[1]}
    for record in _records(derive(*world)):
        *about, last = record.events
        event = events[last]
        assert about == [id_ for id_ in (event.interaction, event.rejected) if id_]
        assert record.prompt == answers[about[0]].prompt or not hasattr(record, "chosen")
        assert {answers[id_].subject for id_ in about} == {event.subject}


@settings(deadline=None)
@given(_WORLDS)
def test_no_person_gives_more_than_the_cap_and_the_newest_count(world: _World) -> None:
    derived = derive(*world)
    events = {one.id: one for one in world[1]}
    used = {record.events[-1] for record in _records(derived)}
    counts = Counter(events[id_].subject for id_ in used)
    assert all(count <= world[3].per_person for count in counts.values())
    for left in derived.left_out:
        if "newest" in left.reason:
            one = events[left.event]
            assert counts[one.subject] == world[3].per_person
            mine = [events[id_] for id_ in used if events[id_].subject == one.subject]
            assert all((other.created, other.id) > (one.created, one.id) for other in mine)


@settings(deadline=None)
@given(_WORLDS)
def test_a_person_has_one_edit_and_one_thumb_of_an_answer_and_the_last_holds(world: _World) -> None:
    derived = derive(*world)
    events = {one.id: one for one in world[1]}
    for kind, records in (("edit", derived.rows), ("thumb", derived.ratings)):
        for record in records:
            one = events[record.events[-1]]
            rivals = [
                other
                for other in events.values()
                if (other.kind, other.interaction, other.subject) == (kind, one.interaction, one.subject)
            ]
            assert max(rivals, key=lambda other: (other.created, other.id)) == one


# What each kind of feedback becomes.


def test_an_edit_becomes_a_row_and_a_preference() -> None:
    derived = _one(edit(text="12.00 euros."))
    (row,), (pair,) = derived.rows, derived.preferences
    assert [(turn.role, turn.content, turn.weight) for turn in row.messages] == [
        ("system", "Be short.", 0.0),
        ("user", "What does it cost?", 0.0),
        ("assistant", "What does what cost?", 0.0),
        ("user", "The red chair.", 0.0),
        ("assistant", "12.00 euros.", 1.0),
    ]
    assert (pair.prompt, pair.chosen, pair.rejected) == (PROMPT, "12.00 euros.", "It is 12 euros.")
    assert row.events == pair.events == ("answer-1", "said-1")
    assert row.tags == pair.tags == {"audience": "expert", "source": "feedback", "model": "desk@v1"}
    assert (derived.ratings, derived.left_out, derived.version) == ((), (), 1)


def test_a_choice_becomes_a_preference() -> None:
    other = answer("answer-2", answer="Twelve.", model="till@v1")
    derived = _one(choice(), answers=(answer(), other))
    (pair,) = derived.preferences
    assert (pair.chosen, pair.rejected) == ("It is 12 euros.", "Twelve.")
    assert pair.events == ("answer-1", "answer-2", "said-1")
    assert pair.tags["model"] == "desk@v1"
    assert (derived.rows, derived.ratings, derived.left_out) == ((), (), ())


@pytest.mark.parametrize("good", [True, False])
def test_a_lone_thumb_becomes_a_rating(good: bool) -> None:
    derived = _one(thumb(good=good, reason="no decimals"))
    (rating,) = derived.ratings
    assert (rating.prompt, rating.answer, rating.good) == (PROMPT, "It is 12 euros.", good)
    assert (rating.reason, rating.events) == ("no decimals", ("answer-1", "said-1"))
    assert (derived.rows, derived.preferences, derived.left_out) == ((), (), ())


def test_a_thumb_beside_an_edit_is_not_lone() -> None:
    derived = _one(edit("e", created=200.0), thumb("t", created=300.0))
    assert (len(derived.rows), derived.ratings) == (1, ())
    assert _reasons(derived) == {"t": "the person's edit of the same answer says more"}


def test_the_last_word_of_each_kind_holds() -> None:
    others = (answer(), answer("answer-2", answer="Twelve."))
    derived = _one(
        edit("e2", text="later", created=3.0),
        edit("e1", text="earlier", created=2.0),
        choice("c1", "answer-1", "answer-2", created=2.0),
        choice("c2", "answer-2", "answer-1", created=3.0),
        thumb("t1", "answer-2", good=True, created=2.0),
        thumb("t2", "answer-2", good=False, created=3.0),
        answers=others,
    )
    assert [row.answer for row in derived.rows] == ["later"]
    assert [(pair.events[-1], pair.chosen) for pair in derived.preferences] == [("c2", "Twelve."), ("e2", "later")]
    assert [rating.good for rating in derived.ratings] == [False]
    assert _reasons(derived) == dict.fromkeys(("c1", "e1", "t1"), "the person said it anew later")


def test_simulated_feedback_is_called_that_whatever_the_segments_say() -> None:
    derived = _one(edit(), answers=(answer(simulated=True, segments={"source": "x", "model": "y", "team": "z"}),))
    assert derived.rows[0].tags == {"source": "simulated feedback", "model": "desk@v1", "team": "z"}


def test_each_state_of_consent_has_its_reason() -> None:
    for words, reason in (
        ([], "the person was never asked whether it may be used for training"),
        ([consent(granted=False)], "the person doesn't allow training"),
        ([consent(created=1.0), consent(granted=False, created=2.0)], "the person doesn't allow training"),
        ([consent("bob")], "the person was never asked whether it may be used for training"),
    ):
        derived = derive([answer()], [edit(), thumb("t")], words, _ANY)
        assert _records(derived) == []
        assert _reasons(derived) == {"said-1": reason, "t": reason}
    words = [consent(granted=False, created=1.0), consent(created=2.0)]
    assert len(derive([answer()], [edit()], words, _ANY).rows) == 1


def test_what_cannot_be_learned_from_is_left_out_with_its_reason() -> None:
    two = (answer(), answer("answer-2", answer="Twelve."))
    for event, answers, reason in (
        (thumb(about="gone"), two, "the answer it is about isn't there"),
        (choice(over="gone"), two, "the answer it is about isn't there"),
        (edit(subject="ann"), (answer(subject="bob"),), "the answer was given to another person"),
        (edit(text="It is 12 euros."), two, "the edit changes nothing"),
        (edit(text=" \n"), two, "the answer is empty"),
        (edit(text="a\0b"), two, "a text holds a NUL character"),
        (edit(), (answer(prompt=PROMPT[:3]),), "the prompt's turns are not user and assistant by turns, the user last"),
        (edit(), (answer(prompt=()),), "the prompt's turns are not user and assistant by turns, the user last"),
        (edit(), (answer(prompt=(Message(role="user", content=" "),)),), "a turn of the prompt is empty"),
        (thumb(), (answer(finish="cancelled"),), "the person stopped the answer before its end"),
        (choice(), (two[0], answer("answer-2")), "the two answers are the same"),
        (choice(), (two[0], answer("answer-2", prompt=PROMPT[1:])), "the two answers are to different prompts"),
        (choice(), (answer(answer=""), two[1]), "the answer is empty"),
        (choice(), (two[0], answer("answer-2", answer="", finish="length")), "the other answer is empty"),
        (choice(), (answer(finish="length"), two[1]), "the chosen answer is cut off, and would teach to end there"),
        (
            choice(),
            (two[0], answer("answer-2", answer="Tw", finish="cancelled")),
            "the person stopped the answer before its end",
        ),
    ):
        derived = _one(event, answers=answers)
        assert _records(derived) == []
        assert _reasons(derived) == {"said-1": reason}


def test_an_edit_of_an_answer_that_was_stopped_or_ended_inside_its_reasoning_is_a_row_and_no_preference() -> None:
    for about in (answer(finish="cancelled"), answer(answer="", finish="length")):
        derived = _one(edit(), answers=(about,))
        assert (len(derived.rows), derived.preferences, derived.left_out) == (1, (), ())


def test_an_answer_of_all_its_tokens_may_be_the_worse_one() -> None:
    answers = (answer(), answer("answer-2", answer="Twelve, that is", finish="length"))
    assert len(_one(choice(), answers=answers).preferences) == 1


def test_only_the_named_models_count() -> None:
    answers = (answer("i1", model="desk@v1"), answer("i2", model="desk@v2"), answer("i3", model="till@v1"))
    events = [edit(f"e{at}", f"i{at}") for at in (1, 2, 3)]
    for models, used in (((), "123"), (("desk",), "12"), (("desk@v2", "till"), "23"), (("desk@v",), "")):
        derived = _one(*events, answers=answers, settings=DeriveConfig(models=models))
        assert [row.events[-1] for row in derived.rows] == [f"e{at}" for at in used]
        left = set(_reasons(derived).values())
        assert left == (set() if used == "123" else {"it is about another model"})


def test_what_is_over_the_cap_is_listed() -> None:
    answers = tuple(answer(f"i{at}") for at in range(5))
    events = [edit(f"e{at}", f"i{at}", created=float(at)) for at in range(5)]
    derived = _one(*events, answers=answers, settings=DeriveConfig(per_person=2))
    assert [row.events[-1] for row in derived.rows] == ["e3", "e4"]
    assert set(_reasons(derived)) == {"e0", "e1", "e2"}
    assert "more than the 2 newest" in derived.left_out[0].reason


def test_every_setting_is_described_and_read() -> None:
    tree = ast.parse(Path(str(module.__file__)).read_text())
    read = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for name, field in DeriveConfig.model_fields.items():
        assert field.description
        assert name in read
