"""Preferences and ratings are curated as rows are: what may not be learned from a row isn't learned from a pair."""

from __future__ import annotations

import json
from typing import Any

import pytest

from honed.data import dropped
from honed.data.curate.pieces import of_rows
from honed.data.curate.row import Row
from honed.data.curate.view import View
from honed.data.curate.worker import work
from honed.errors import DataError
from honed.jobs.events import Note
from honed.records import Conversation, Message, Preference, Rating, Record
from honed.store import artifacts, datasets
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace
from tests.data.curated import queued, said

LONG = "a quite long sentence of which nobody could say that it was written twice by mere chance in this world"


def pair(prompt: str, chosen: str, rejected: str) -> Preference:
    return Preference(prompt=(Message(role="user", content=prompt),), chosen=chosen, rejected=rejected)


def rated(prompt: str, answer: str, *, good: bool) -> Rating:
    return Rating(prompt=(Message(role="user", content=prompt),), answer=answer, good=good, tags={"source": "thumbs"})


def stored(workspace: Workspace, *records: Record, heldout: tuple[Conversation, ...] = ()) -> Artifact:
    rows = [(one, "train") for one in records if isinstance(one, Conversation)]
    return datasets.write(
        workspace,
        "set",
        [*rows, *((row, "heldout") for row in heldout)],  # type: ignore[list-item]
        config={},
        facts={"dropped": {}},
        preferences=[one for one in records if isinstance(one, Preference)],
        ratings=[one for one in records if isinstance(one, Rating)],
    )


def curated(
    workspace: Workspace, *steps: str, **settings: Any
) -> tuple[dict[str, Any], list[Preference], list[Rating]]:
    result = work(queued(workspace, *steps, **settings), lambda: False)
    clean = artifacts.resolve(workspace, "datasets", result["dataset"])
    return result, list(datasets.preferences(clean)), list(datasets.ratings(clean))


def left_out(workspace: Workspace) -> list[tuple[str, int, str]]:
    path = artifacts.resolve(workspace, "datasets", "clean").path
    return [(fault.field, fault.line, fault.kind) for fault, _ in dropped.read(path)]


def test_personal_data_and_secrets_are_masked_in_prompts_and_in_all_answers(workspace: Workspace) -> None:
    key = "AKIAIOSFODNN7EXAMPLE"
    stored(
        workspace,
        said("hi", "there"),
        pair("Mail jo@x.org", f"Use {key}", "Ask al@y.org"),
        pair("What?", "Yes.", "No."),
        rated("Who?", "jo@x.org", good=False),
    )
    result, pairs, ratings = curated(workspace, "pii", "secrets")
    assert pairs[0] == pair("Mail [EMAIL]", "Use [AWS_KEY]", "Ask [EMAIL]")
    assert pairs[1] == pair("What?", "Yes.", "No.")
    assert ratings == [rated("Who?", "[EMAIL]", good=False)]  # tags and verdict stay
    assert [(step["rows_in"], step["changed"]) for step in result["curation"]] == [(4, 2), (4, 1)]
    assert result["curation"][0]["parts"]["preferences"] == {"in": 2, "out": 2}
    folder = artifacts.resolve(workspace, "datasets", "clean").path
    assert not any(b"jo@x.org" in path.read_bytes() for path in folder.glob("*.json*"))


def test_a_pair_whose_answers_differ_only_in_what_is_masked_is_dropped(workspace: Workspace) -> None:
    stored(workspace, pair("Who?", "jo@x.org", "al@y.org"), pair("Where?", "here", "there"))
    result, pairs, _ = curated(workspace, "pii")
    assert [one.chosen for one in pairs] == ["here"]
    assert left_out(workspace) == [("preference", 1, "personal data")]
    path = artifacts.resolve(workspace, "datasets", "clean").path
    assert "jo@x.org" not in (path / dropped.FILE).read_text()
    assert result["dropped"] == {"personal data": 1}


def test_pairs_and_ratings_that_hold_parts_of_an_evaluation_are_dropped(workspace: Workspace) -> None:
    held = said("Which town is the capital of nowhere?", LONG)
    stored(
        workspace,
        said("hi", "there"),
        pair("which town is the capital of nowhere", "this", "that"),
        pair("other", "yes", f"It was {LONG}, I said."),
        pair("free", "yes", "no"),
        rated("more", f"So: {LONG}", good=False),
        heldout=(held,),
    )
    _, pairs, ratings = curated(workspace, "decontaminate", decontaminate={"against": ["datasets"]})
    assert ([one.prompt[0].content for one in pairs], ratings) == (["free"], [])
    assert left_out(workspace) == [
        ("preference", 1, "evaluation prompt"),
        ("preference", 2, "13-gram of an evaluation"),
        ("rating", 1, "13-gram of an evaluation"),
    ]


def test_exact_duplicates_are_told_within_each_kind_and_by_verdict(workspace: Workspace) -> None:
    stored(
        workspace,
        said("Q", "a"),
        pair("Q", "a", "b"),
        pair("q", "A ", "b"),
        pair("Q", "b", "a"),
        pair("Held?", "yes", "no"),
        rated("Q", "a", good=True),
        rated("Q", "a", good=False),
        rated("q", "A", good=True),
        heldout=(said("held?", "No"),),
    )
    result, pairs, ratings = curated(workspace, "exact")
    assert pairs == [pair("Q", "a", "b"), pair("Q", "b", "a")]
    assert [(one.answer, one.good) for one in ratings] == [("a", True), ("a", False)]
    assert result["train"] == 1
    assert result["dropped"] == {"exact duplicate": 3}


def test_toxic_words_that_a_model_learns_not_to_say_are_no_reason_to_drop_a_pair(workspace: Workspace) -> None:
    rude = "Oh shit, no."
    stored(workspace, pair("A", "Fine.", rude), pair("B", rude, "Fine."), rated("C", rude, good=False))
    everything = curated(workspace, "toxicity")[0]["curation"][0]
    assert everything["reported"] == 3
    _, pairs, ratings = curated(workspace, "toxicity", toxicity={"action": "drop", "turns": "answers"})
    assert ([one.chosen for one in pairs], len(ratings)) == (["Fine."], 1)


def test_both_answers_of_a_pair_must_be_in_the_band_of_lengths(workspace: Workspace) -> None:
    stored(workspace, pair("A", "one two", "one two three four"), pair("B", "one two", "two one"))
    _, pairs, _ = curated(workspace, "length", length={"answer": [1, 3]})
    assert [one.prompt[0].content for one in pairs] == ["B"]
    assert left_out(workspace) == [("preference", 1, "rejected answer too long")]


def test_steps_that_are_about_rows_leave_pairs_alone_and_say_so(workspace: Workspace) -> None:
    stored(workspace, said("hi", "there"), pair("Q", LONG, "no"), pair("Q", LONG, "not"))
    job = queued(workspace)
    work(job, lambda: False)
    notes = [event.text for event in job.events() if isinstance(event, Note)]
    assert "near, contradictions, triggers, languages read rows only: 2 preferences pass them as they are" in notes


def test_a_set_of_pairs_alone_is_curated_and_an_empty_result_is_refused(workspace: Workspace) -> None:
    stored(workspace, pair("A", "one", "two"), pair("B", "one two", "two one"))
    result, pairs, _ = curated(workspace, "length", length={"answer": [2, 3]})
    assert (result["rows"], result["train"], len(pairs)) == (2, 0, 1)
    with pytest.raises(DataError, match="no training row is left after length"):
        curated(workspace, "length", length={"answer": [5, 9]})


def numbered(rows: Any) -> list[Row]:
    return list(rows)


def test_what_is_trained_on_is_numbered_through_and_read_by_number(workspace: Workspace) -> None:
    records = [said("a", "b"), pair("c", "d", "e"), pair("f", "g", "h"), rated("i", "j", good=True)]
    view = View(stored(workspace, *records, heldout=(said("x", "y"),)))
    read = [row for some in view.mapped(of_rows(numbered), "all") for row in some]
    assert [(row.number, row.answers(), row.verdict) for row in read] == [
        (0, ["b"], ""),
        (1, ["d", "e"], ""),
        (2, ["g", "h"], ""),
        (3, ["j"], "good"),
    ]
    assert [row.number for row in view.rows()] == [0]
    assert {number: row.id for number, row in view.take([3, 1]).items()} == {1: records[1].id, 3: records[3].id}
    assert [view.place(number) for number in range(4)] == [
        ("rows", 0),
        ("preferences", 0),
        ("preferences", 1),
        ("ratings", 0),
    ]


def test_personal_data_in_the_definitions_of_tools_is_masked(workspace: Workspace) -> None:
    tool = {"name": "mail", "description": "Writes to jo@x.org", "parameters": {"to": {"default": "jo@x.org"}}}
    asked = Message(role="user", content="Go", tools=(tool,))
    chat = Conversation(messages=(asked, Message(role="assistant", content="Done")))
    stored(workspace, chat, Preference(prompt=(asked,), chosen="Yes", rejected="No"))
    result, (one,), _ = curated(workspace, "pii")
    masked = {"name": "mail", "description": "Writes to [EMAIL]", "parameters": {"to": {"default": "[EMAIL]"}}}
    (row,) = datasets.rows(artifacts.resolve(workspace, "datasets", result["dataset"]), "train")
    assert [json.loads(json.dumps(turn.tools[0])) for turn in (row.messages[0], one.prompt[0])] == [masked, masked]
