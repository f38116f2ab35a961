"""Attributes of people: each says where it was declared, and no step of the way adds one that nobody declared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honed.config import build
from honed.data.attributes import declared, parsed
from honed.data.curate.recipe import DEFAULT, CurateConfig
from honed.data.curate.worker import work as curate
from honed.data.export import FORMATS, export
from honed.data.formats import Format
from honed.data.intake import Manner
from honed.data.licences import conflicts, terms
from honed.data.mapping import ColumnMap
from honed.data.mix.recipe import MixConfig
from honed.data.mix.worker import work as mix
from honed.data.shapes.drawn import Drawn
from honed.data.worker import work
from honed.errors import DataError
from honed.feedback.derive import DeriveConfig, derive
from honed.jobs import job as jobs
from honed.records import ATTRIBUTES, Consent, Conversation, FeedbackEvent, Interaction, Message
from honed.store import artifacts, datasets
from honed.store.workspace import Workspace
from tests.data.files import queued, saved, taken

TEXTS = [
    "My six year old daughter asks why the sky is blue, please explain it to a child.",
    "Ich bin ein Rentner aus Wien und verstehe das nicht, können Sie es mir bitte noch einmal erklären?",
    "As a cardiologist I need the exact dosage, skip the basics.",
]


def of(workspace: Workspace, ref: str) -> list[Conversation]:
    dataset = artifacts.resolve(workspace, "datasets", ref)
    return [*datasets.rows(dataset, "train"), *datasets.rows(dataset, "heldout")]


def attributes(row: Conversation) -> dict[str, str]:
    return {name: row.tags[name] for name in row.tags if name in ATTRIBUTES}


def imported(workspace: Workspace, tmp_path: Path, rows: list[dict[str, Any]], **more: Any) -> list[Conversation]:
    path = saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, rows)))
    work(queued(workspace, [path], **more), lambda: False)
    return of(workspace, "set")


def test_each_attribute_says_where_it_was_declared(workspace: Workspace, tmp_path: Path) -> None:
    rows = [
        {"instruction": "one", "output": "a", "audience": "child", "country": "at"},
        {"instruction": "two", "output": "b", "tags": {"expertise": "novice"}},
        {"instruction": "three", "output": "c"},
    ]
    more = {"columns": {"locale": "country"}, "attributes": {"locale": "de", "profession": "nurse"}, "heldout": 0.0}
    found = {row.answer: row for row in imported(workspace, tmp_path, rows, **more)}
    said = {"locale": "operator", "profession": "operator"}
    assert found["a"].declared == {"audience": "column audience", "locale": "column country", "profession": "operator"}
    assert found["b"].declared == {**said, "expertise": "column tags.expertise"}
    assert (found["c"].declared, found["c"].tags) == (said, {"locale": "de", "profession": "nurse"})
    facts = artifacts.resolve(workspace, "datasets", "set").manifest.facts
    assert facts["declared"]["locale"] == {"operator": 2, "column country": 1}
    assert facts["counts"]["locale"] == {"de": {"train": 2}, "at": {"train": 1}}
    assert facts["counts"]["profession"] == {"nurse": {"train": 3}}  # any attribute that was declared


@pytest.mark.parametrize("form", [form for form in FORMATS if form not in ("dpo", "llama-factory", "hh-rlhf", "kto")])
def test_an_export_carries_where_attributes_were_declared_and_an_import_reads_it_back(
    workspace: Workspace, tmp_path: Path, form: Format
) -> None:
    rows = [
        {"instruction": "one", "output": "a", "audience": "child", "task": "x"},
        {"instruction": "two", "output": "b", "expertise": "novice"},
        {"instruction": "three", "output": "c"},
    ]
    more = {"attributes": {"profession": "nurse"}, "heldout": 0.0}
    before = {row.id: row for row in imported(workspace, tmp_path, rows, **more)}
    done = export(artifacts.resolve(workspace, "datasets", "set"), form, tmp_path / "out.jsonl", "all")
    assert done.lost == ({"declared": 3} if form == "argilla" else {})
    work(queued(workspace, [tmp_path / "out.jsonl"], heldout=0.0, name="again"), lambda: False)
    after = {row.id: row for row in of(workspace, "again")}
    assert {id_: row.tags for id_, row in after.items()} == {id_: row.tags for id_, row in before.items()}
    if form != "argilla":
        assert {id_: row.declared for id_, row in after.items()} == {id_: row.declared for id_, row in before.items()}
    facts = artifacts.resolve(workspace, "datasets", "again").manifest.facts
    assert facts["declared"]["audience"] == {"column audience": 1}


@pytest.mark.parametrize("value", [True, "yes", {"audience": 3}, {"audience": ""}, {}, None])
def test_a_field_declared_that_is_not_ours_declares_nothing_and_is_named(tmp_path: Path, value: object) -> None:
    row = {"instruction": "one", "output": "a", "audience": "child", "declared": value}
    survey, (good,), _ = taken(saved(tmp_path, "rows.jsonl", json.dumps(row)))
    read = declared(good.records[0], row, Manner("rows.jsonl", "alpaca", ColumnMap({})))
    assert read.declared == {"audience": "column audience"}
    assert "declared" in survey.counts.ignored


def test_what_a_file_says_to_be_declared_is_of_tags_it_has_and_of_people_only() -> None:
    row = {"tags": {"audience": "child", "task": "x"}, "declared": {"audience": "person", "task": "p", "locale": "q"}}
    read = declared(Drawn((), {"audience": "child", "task": "x"}), row, Manner("rows.jsonl", "messages", ColumnMap({})))
    assert read.declared == {"audience": "person"}


def test_texts_that_tell_who_asks_get_no_attribute_on_the_whole_way(workspace: Workspace, tmp_path: Path) -> None:
    rows = [{"instruction": text, "output": f"{text} Yes.", "audience": None} for text in TEXTS]
    rows += [{"instruction": "Who?", "output": "Someone else.", "audience": "expert"}]
    assert {row.answer: attributes(row) for row in imported(workspace, tmp_path, rows, licence="cc0-1.0")}[
        "Someone else."
    ] == {"audience": "expert"}
    recipe = build(CurateConfig, {"dataset": "set", "name": "clean", "steps": list(DEFAULT[1:])}, "test")
    curate(jobs.create(workspace, "curate", recipe), lambda: False)
    wanted = build(MixConfig, {"name": "both", "datasets": ["clean"], "rules": _RULES}, "test")
    mix(jobs.create(workspace, "mix", wanted), lambda: False)
    for ref in ("set", "clean", "both"):
        found = of(workspace, ref)
        assert [attributes(row) for row in found if row.declared] == [{"audience": "expert"}]
        assert all(attributes(row).keys() == row.declared.keys() for row in found)
    assert artifacts.resolve(workspace, "datasets", "both").manifest.facts["licences"] == {"set": "cc0-1.0"}


_RULES = [{"name": "kids", "where": {"audience": "child"}}]


@given(st.dictionaries(st.sampled_from(["locale", "audience"]), st.sampled_from(["a", "b"])))
@settings(deadline=None)
def test_feedback_gives_the_attributes_that_the_person_stated_and_no_others(stated: dict[str, str]) -> None:
    prompt = (Message(role="user", content=TEXTS[0]),)
    answer = Interaction(
        id="i", created=1.0, prompt=prompt, answer="It is.", finish="stop", prompt_tokens=1, tokens=1, model="m@v1",
        model_hash="", template_hash="", sampling={}, subject="p", segments=stated,
    )  # fmt: skip
    edit = FeedbackEvent(id="e", created=2.0, kind="edit", interaction="i", subject="p", text="Because of the air.")
    thumb = FeedbackEvent(id="t", created=2.0, kind="thumb", interaction="i", subject="p", good=True)
    allowed = [Consent(subject="p", purpose="train", granted=True, created=0.0)]
    made = derive([answer], [edit], allowed, DeriveConfig())
    rated = derive([answer], [thumb], allowed, DeriveConfig())
    for record in (*made.rows, *made.preferences, *rated.ratings):
        assert record.declared == dict.fromkeys(stated, "person")
        assert {name: record.tags[name] for name in record.tags if name in ATTRIBUTES} == stated
    assert len(made.rows) == len(made.preferences) == len(rated.ratings) == 1


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from([*ATTRIBUTES, "task"]), st.sampled_from(["a", "b"])),
    st.dictionaries(st.sampled_from(ATTRIBUTES), st.sampled_from(["c", "d"])),
)
def test_what_a_row_says_goes_before_what_is_said_of_its_file(row: dict[str, str], file: dict[str, str]) -> None:
    manner = Manner("f", "alpaca", ColumnMap({}), "all", file)
    found = declared(Drawn((), row), row, manner)
    assert found.tags == {**file, **row}
    assert found.declared == {
        **dict.fromkeys(file, "operator"),
        **{name: f"column {name}" for name in row if name in ATTRIBUTES},
    }


@pytest.mark.parametrize(
    ("text", "message"), [("locale", "not a NAME=VALUE"), ("=de", "not a NAME=VALUE"), ("task=qa", "whom it is for")]
)
def test_a_wrong_attribute_is_said(text: str, message: str) -> None:
    with pytest.raises(DataError) as raised:
        parsed((text,))
    assert message in f"{raised.value.message} {raised.value.hint}"
    assert parsed(("locale = de",)) == {"locale": "de"}


@pytest.mark.parametrize(
    ("licence", "found"),
    [
        ("cc-by-nc-sa-4.0", {"non-commercial", "share-alike"}),
        ("CC BY-ND 4.0", {"no derivatives"}),
        ("gpl-3.0", {"share-alike"}),
        ("ODbL 1.0", {"share-alike"}),
        ("Research only", {"non-commercial"}),
        ("apache-2.0", set()),
        ("cc0-1.0", set()),
        ("mit", set()),
        ("cc-by-4.0", set()),
    ],
)
def test_a_licence_is_told_by_its_name(licence: str, found: set[str]) -> None:
    assert terms(licence) == found


def test_two_licences_that_each_ask_for_themselves_are_named() -> None:
    told = list(conflicts({"a": "cc-by-sa-3.0", "b": "gpl-3.0", "c": "mit"}))
    assert [one.source for one in told] == ["a", "b"]
    assert told[0].what.endswith("and gpl-3.0 asks the same for itself")
