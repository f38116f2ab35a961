"""Interactions, feedback and consents: the same on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from sqlalchemy.exc import IntegrityError

from honed.errors import RequestError, StoreError
from honed.records import Message
from honed.store import interactions as module
from honed.store.database import Database, open_database
from honed.store.interactions import Interactions
from honed.store.workspace import Workspace
from tests.store.said import answer, choice, consent, edit, thumb

_HARD = "NUL \0, quotes '\" \\, a line\nmore, emoji \U0001f9ea, right-to-left \u202e, {json: true}"


def test_an_answer_comes_back_as_it_was_stored(store: Interactions) -> None:
    stored = answer(pair="p1", simulated=True, finish="cancelled", created=1766400000.123456)
    store.add(stored)
    assert store.get("answer-1") == stored
    assert list(store.interactions()) == [stored]
    assert store.get("answer-2") is None


def test_any_text_of_people_and_models_comes_back_as_it_was(store: Interactions) -> None:
    stored = answer(prompt=(Message(role="user", content=_HARD),), answer=_HARD, segments={"audience": _HARD})
    store.add(stored)
    said = [edit("e", text=_HARD), thumb("t", good=False, reason=_HARD)]
    for event in said:
        store.add_feedback(event, [event.id])
    assert store.get("answer-1") == stored
    assert list(store.feedback()) == said


def test_half_a_character_is_a_400(store: Interactions) -> None:
    store.add(answer())
    for write in (
        lambda: store.add(answer("answer-2", answer="\ud800")),
        lambda: store.add(answer("answer-2", prompt=(Message(role="user", content="\udfff"),))),
        lambda: store.add_feedback(edit(text="\ud800"), ["n"]),
        lambda: store.add_feedback(thumb(reason="\ud800"), ["n"]),
        lambda: store.set_consent(consent("\ud800")),
    ):
        with pytest.raises(RequestError, match="can't be stored") as raised:
            write()
        assert (raised.value.status, raised.value.code) == (400, "invalid_text")
    assert len(list(store.interactions())) == 1
    assert list(store.feedback()) == []


def test_a_nul_character_in_a_name_is_a_400_and_in_an_id_nothing(store: Interactions) -> None:
    for values in ({"pair": "a\0b"}, {"subject": "\0"}, {"model": "m\0@v1"}):
        with pytest.raises(RequestError, match="NUL character in") as raised:
            store.add(answer(**values))
        assert raised.value.status == 400
    assert store.get("a\0b") is None
    assert store.get("\ud800") is None
    assert store.get_feedback("a\0b") is None


def test_a_number_that_no_database_holds_is_a_400(store: Interactions) -> None:
    with pytest.raises(RequestError, match="64-bit"):
        store.add(answer(sampling={"seed": 2**64}))


def test_an_id_is_given_once(store: Interactions) -> None:
    store.add(answer())
    with pytest.raises(IntegrityError):
        store.add(answer())
    assert len(list(store.interactions())) == 1


def test_feedback_comes_back_as_it_was_stored(store: Interactions) -> None:
    store.add(answer("answer-1"))
    store.add(answer("answer-2"))
    said = [thumb("a", good=False, reason="too long"), edit("b"), choice("c")]
    for event in said:
        store.add_feedback(event, [event.id])
    assert list(store.feedback()) == said
    assert store.get_feedback("b") == said[1]
    assert store.get_feedback("d") is None


def test_feedback_on_an_answer_that_is_not_there_is_not_stored(store: Interactions) -> None:
    with pytest.raises(IntegrityError):
        store.add_feedback(thumb(), ["nonce"])
    assert list(store.feedback()) == []
    store.add(answer())
    store.add_feedback(thumb(), ["nonce"])  # its token was not used up


def test_a_used_token_is_a_409_and_nothing_of_it_is_stored(store: Interactions) -> None:
    store.add(answer("answer-1"))
    store.add(answer("answer-2"))
    store.add_feedback(thumb("a"), ["one"])
    for nonces in (["one"], ["two", "one"], ["one", "two"], ["three", "three"]):
        with pytest.raises(RequestError, match="used before") as raised:
            store.add_feedback(choice("b"), nonces)
        assert (raised.value.status, raised.value.code) == (409, "used_token")
    assert [event.id for event in store.feedback()] == ["a"]
    store.add_feedback(choice("b"), ["two", "three"])  # the refused ones used up none of these


def test_the_newest_word_on_consent_holds(store: Interactions) -> None:
    assert store.consent_of("ann", "train") is None
    store.set_consent(consent(granted=True, created=1.0))
    assert store.consent_of("ann", "train") is True
    store.set_consent(consent(granted=False, created=2.0))
    store.set_consent(consent("bob", granted=True, created=3.0))
    assert store.consent_of("ann", "train") is False
    assert store.consent_of("bob", "train") is True
    assert [one.granted for one in store.consents()] == [True, False, True]


def test_of_two_words_of_one_moment_the_refusal_holds(store: Interactions) -> None:
    for granted in (True, False, True):
        store.set_consent(consent(granted=granted, created=1.0))
    assert store.consent_of("ann", "train") is False
    assert store.counts()["consent"] == {"granted": 0, "refused": 1}


def test_filters(store: Interactions) -> None:
    for number in range(4):
        store.add(answer(f"i{number}", created=float(number), model=f"desk@v{number % 2}"))
    store.add_feedback(thumb("a", "i0", created=10.0), ["a"])
    store.add_feedback(choice("b", "i1", "i2", created=11.0), ["b"])

    def ids(records: object) -> list[str]:
        return [one.id for one in records]  # type: ignore[attr-defined]

    assert ids(store.interactions(model="desk@v1")) == ["i1", "i3"]
    assert ids(store.interactions(since=2.0)) == ["i2", "i3"]
    assert ids(store.interactions(rated=True)) == ["i0", "i1", "i2"]
    assert ids(store.feedback(kind="choice")) == ["b"]
    assert ids(store.feedback(since=10.5)) == ["b"]
    assert ids(store.feedback(interaction="i2")) == ["b"]
    assert ids(store.feedback(interaction="i3")) == []


def test_counts(store: Interactions) -> None:
    assert store.counts() == {
        "interactions": 0,
        "simulated": 0,
        "people": 0,
        "feedback": {"thumb": 0, "edit": 0, "choice": 0},
        "consent": {"granted": 0, "refused": 0},
    }
    for number in range(4):
        store.add(answer(f"i{number}", subject="ann" if number % 2 else "bob", simulated=number == 0))
    store.add_feedback(thumb("a", "i0"), ["a"])
    store.add_feedback(thumb("b", "i1"), ["b"])
    store.add_feedback(edit("c", "i1"), ["c"])
    for subject, granted, created in (("ann", True, 1.0), ("ann", False, 2.0), ("bob", True, 1.0)):
        store.set_consent(consent(subject, granted=granted, created=created))
    assert store.counts() == {
        "interactions": 4,
        "simulated": 1,
        "people": 2,
        "feedback": {"thumb": 2, "edit": 1, "choice": 0},
        "consent": {"granted": 1, "refused": 1},
    }


def test_reading_goes_on_over_pages_while_others_write(store: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE", 3)
    for number in range(7):
        store.add(answer(f"i{number}", created=100.0 - number))  # a clock that runs backwards changes no order
    reading = store.interactions()
    seen = [next(reading).id]
    store.add(answer("i7"))
    assert seen + [one.id for one in reading] == [f"i{number}" for number in range(8)]


def _together(count: int, work: Callable[[int], object]) -> list[object]:
    """Run ``work`` in threads that start at the same moment; return what each returned or raised."""
    barrier = threading.Barrier(count)
    results: list[object] = [None] * count

    def run(number: int) -> None:
        barrier.wait()
        try:
            results[number] = work(number)
        except (RequestError, StoreError) as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_threads_that_write_at_once_lose_nothing(store: Interactions) -> None:
    def write(number: int) -> None:
        for at in range(15):
            store.add(answer(f"t{number}-{at}"))
            store.add_feedback(thumb(f"f{number}-{at}", f"t{number}-{at}"), [f"n{number}-{at}"])

    assert _together(4, write) == [None] * 4
    assert sorted(one.id for one in store.interactions()) == sorted(f"t{n}-{at}" for n in range(4) for at in range(15))
    assert len(list(store.feedback())) == 60


def test_of_threads_that_use_one_token_at_once_one_succeeds(store: Interactions) -> None:
    store.add(answer())
    results = _together(4, lambda number: store.add_feedback(thumb(f"f{number}"), ["same"]))
    assert results.count(None) == 1
    assert all(isinstance(one, RequestError) and one.code == "used_token" for one in results if one)
    assert len(list(store.feedback())) == 1


def test_a_closed_database_opens_again_with_all_that_was_written(
    store: Interactions, database: Database, url: str, workspace: Workspace
) -> None:
    store.add(answer())
    database.close()
    again = open_database(workspace, url)
    assert Interactions(again).get("answer-1") == answer()
    again.close()
