"""From a model to what people said, and from what they said to the models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from honed.errors import StoreError
from honed.records import Conversation, Message, Preference
from honed.rounds.lineage import Node, explain
from honed.store import aliases, artifacts, datasets
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace


def row(question: str, *events: str) -> Conversation:
    turns = (Message(role="user", content=question), Message(role="assistant", content="fine"))
    return Conversation(messages=turns, events=events)


def model(workspace: Workspace, name: str, **parents: str) -> Artifact:
    with artifacts.draft(workspace, "models", name) as scratch:
        (scratch / "answer.txt").write_text(f"{name} {parents}")
        given = {ref.replace("_v", "@v").replace("_", "-"): hash_ for ref, hash_ in parents.items()}
        return artifacts.publish(scratch, "models", parents=given, config={}, facts={"job": f"train-{name}"})


@pytest.fixture
def lap(workspace: Workspace) -> Workspace:
    """``base`` (outside) -> helpdesk@v1 (of a dataset of the same name) -> desk@v1, of two people's feedback."""
    helpdesk = datasets.write(workspace, "helpdesk", [(row("a"), "train"), (row("b"), "heldout")], config={}, facts={})
    first = model(workspace, "helpdesk", base="00", helpdesk_v1=helpdesk.manifest.hash)
    rows = [row("c", "i1", "f1"), row("d", "i2", "f2")]
    pairs = [Preference(prompt=rows[0].prompt, chosen="x", rejected="y", events=("i1", "f1"))]
    fed = datasets.write(
        workspace, "desk-feedback", [(one, "train") for one in rows], config={}, facts={}, preferences=pairs
    )
    mixed = datasets.write(
        workspace, "desk-data", [(one, "train") for one in (rows[0], row("a"))], config={}, facts={},
        parents={fed.ref: fed.manifest.hash, helpdesk.ref: helpdesk.manifest.hash},
    )  # fmt: skip
    second = model(workspace, "desk", helpdesk_v1=first.manifest.hash, desk_data_v1=mixed.manifest.hash)
    with artifacts.draft(workspace, "rounds", "desk") as scratch:
        (scratch / "round.json").write_text("{}")
        parents = {"models/desk@v1": second.manifest.hash, "datasets/desk-data@v1": mixed.manifest.hash}
        artifacts.publish(scratch, "rounds", parents=parents, config={}, facts={"verdict": "promoted"})
    aliases.move(workspace, "live", "desk@v1", why="round")
    return workspace


def walk(node: Node) -> Iterator[Node]:
    yield node
    for one in node.nodes:
        yield from walk(one)


def test_a_model_leads_to_its_base_its_datasets_their_rows_and_events(lap: Workspace) -> None:
    found = explain(lap, "live")
    assert (found.kind, found.ref) == ("model", "desk@v1")
    assert found.sources
    nodes = [(node.kind, node.ref) for node in walk(found.sources)]
    for wanted in (
        ("model", "helpdesk@v1"),
        ("outside", "base"),
        ("dataset", "helpdesk@v1"),
        ("dataset", "desk-feedback@v1"),
    ):
        assert wanted in nodes
    rows = [node for node in walk(found.sources) if node.kind == "row"]
    assert [node.facts["part"] for node in rows] == ["row", "row", "preference"]
    assert [event.ref for event in rows[0].nodes] == ["i1", "f1"]
    assert rows[0].facts["asked"] == "c"
    assert found.sources.facts["aliases"] == ["live"] and found.sources.facts["job"] == "train-desk"


def test_what_is_met_twice_is_followed_once(lap: Workspace) -> None:
    found = explain(lap, "desk")
    assert found.sources
    twice = [node for node in walk(found.sources) if (node.kind, node.ref) == ("dataset", "helpdesk@v1")]
    assert [node.again for node in twice] == [False, True]


def test_the_number_of_rows_shown_is_asked_for(lap: Workspace) -> None:
    for count in (0, 1):
        found = explain(lap, "desk", count)
        assert found.sources
        assert sum(node.kind == "row" for node in walk(found.sources)) == count
        assert ("outside", "base") in [(node.kind, node.ref) for node in walk(found.sources)]


def test_an_event_leads_to_every_dataset_model_and_round_that_holds_it(lap: Workspace) -> None:
    used = explain(lap, "f1")
    assert (used.kind, used.sources) == ("event", None)
    assert [(node.kind, node.ref) for node in walk(used.uses)] == [
        ("event", "f1"), ("dataset", "desk-feedback@v1"), ("dataset", "desk-data@v1"), ("model", "desk@v1"),
        ("round", "desk@v1"), ("round", "desk@v1"),
    ]  # fmt: skip
    assert len(used.uses.facts["records"]) == 2  # its row and its pair
    dropped = explain(lap, "i2")  # whose row was left out of the mix
    assert [(node.kind, node.ref) for node in walk(dropped.uses)] == [("event", "i2"), ("dataset", "desk-feedback@v1")]


def test_a_dataset_leads_to_what_was_made_of_it(lap: Workspace) -> None:
    uses = explain(lap, "datasets/helpdesk").uses
    refs = {(node.kind, node.ref) for node in walk(uses)}
    assert {("model", "helpdesk@v1"), ("model", "desk@v1"), ("dataset", "desk-data@v1")} < refs


def test_a_model_goes_before_a_dataset_of_its_name(lap: Workspace) -> None:
    assert explain(lap, "helpdesk").kind == "model"
    assert explain(lap, "helpdesk@v1").kind == "model"
    assert explain(lap, "rounds/desk").kind == "round"


def test_what_is_nothing_at_all_is_told_with_the_nearest(lap: Workspace) -> None:
    with pytest.raises(StoreError, match="'helpdsk' is no model, dataset or round") as raised:
        explain(lap, "helpdsk")
    assert raised.value.hint == "Did you mean 'helpdesk'?"
    with pytest.raises(StoreError, match="no dataset was derived from it"):
        explain(lap, "f9")
