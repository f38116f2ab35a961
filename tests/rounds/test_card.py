"""A data card says what a dataset is, where it is from and what nobody knows, and escapes what rows say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from honed.cli.main import run
from honed.records import Check, Conversation, Message, Preference, Rating
from honed.rounds.card import chart, facts, page
from honed.store import artifacts, datasets
from honed.store.workspace import Workspace

EVIL = "<script>alert(1)</script> | **bold**"


def row(prompt: str, answer: str, **tags: str) -> Conversation:
    turns = (Message(role="user", content=prompt), Message(role="assistant", content=answer))
    return Conversation(messages=turns, tags=tags, declared={"audience": "person"} if "audience" in tags else {})


@pytest.fixture
def mixed(workspace: Workspace) -> Workspace:
    """``both@v1``, made of ``one@v1`` and of one that is gone."""
    rows = [row(f"question {at} about the weather", "It is " * at, task="qa", audience="child") for at in range(1, 20)]
    rows += [row(EVIL, EVIL, task=EVIL)]
    first = datasets.write(
        workspace, "one", [(one, "train") for one in rows], config={"files": []}, facts={"licences": {"one": "mit"}}
    )
    checked = rows[0].model_copy(update={"check": Check(verifier="pattern", params={"pattern": "x"})})
    split = [(checked, "train"), *((one, "heldout") for one in rows[1:])]
    datasets.write(
        workspace,
        "both",
        split,  # type: ignore[arg-type]
        config={},
        facts={
            "dropped": {"leak": 3, "not chosen": 1200},
            "mix": {"levels": ["dataset"], "groups": [], "anchor": None, "notes": []},
            "licences": {"one": "cc-by-nc-4.0", "two": "not declared"},
            "licence_conflicts": [{"kind": "non-commercial", "what": "one is under cc-by-nc-4.0: no commercial use"}],
        },
        parents={first.ref: first.manifest.hash, "two@v3": "0" * 64},
    )
    return workspace


def test_the_facts_are_those_of_manifest_lineage_and_rows(mixed: Workspace) -> None:
    card = facts.card(mixed, artifacts.resolve(mixed, "datasets", "both"))
    assert [(one.depth, one.ref, one.made) for one in card.ancestors] == [
        (0, "both@v1", "mixed by dataset"),
        (1, "one@v1", "imported from "),
        (1, "two@v3", "not in this workspace"),
    ]
    assert (card.rows, card.scan.checked) == (20, 1)
    assert card.scan.by["task"]["qa"] == {"train": 1, "heldout": 18}
    assert card.scan.declared == {"audience": {"person": 19}}
    assert card.scan.answers.tolist()[:3] == [2, 4, 6]
    assert [one.tags["task"] for one in card.scan.examples] == ["qa", EVIL]
    assert card.unknown[0] == "Nobody declared the licence of two."
    assert set(chart.figures(card)) == {"length", "task", "language"}


@pytest.mark.parametrize(
    ("config", "more", "said"),
    [
        ({"by": ["quality", "diversity"]}, {}, "selected by quality, diversity"),
        ({"method": "evolve"}, {"synthetic": {"method": "evolve"}}, "synthesized: evolve"),
        ({"derive": {}}, {}, "derived from feedback"),
        ({"data": "set@v1", "replay": 0.5}, {}, "made by a round"),
        ({}, {}, "written"),
    ],
)
def test_a_dataset_says_by_what_it_was_made(
    workspace: Workspace, config: dict[str, Any], more: dict[str, Any], said: str
) -> None:
    rows = [(row("a", "b"), "train")]
    made = datasets.write(workspace, "set", rows, config=config, facts=more, parents={"one@v1": ""})  # type: ignore[arg-type]
    assert facts.made(made) == said


def test_preferences_and_ratings_are_counted_on_the_card(workspace: Workspace, tmp_path: Path) -> None:
    asked = row("What is it about this weather?", "x").prompt
    pair = Preference(prompt=asked, chosen="one two", rejected="one two three", tags={"task": "chat"})
    rating = Rating(prompt=asked, answer="one", good=False, tags={"task": "qa"})
    datasets.write(workspace, "set", [], config={}, facts={}, preferences=[pair], ratings=[rating])
    card = facts.card(workspace, artifacts.resolve(workspace, "datasets", "set"))
    assert (card.learned, card.rows) == ({"preferences": 1, "ratings": 1}, 2)
    assert card.scan.by["task"] == {"chat": {"train": 1}, "qa": {"train": 1}}
    assert card.scan.answers.tolist() == [2, 3, 1]
    assert card.scan.languages.total() == 3
    assert {"length", "task", "language"} <= set(chart.figures(card))
    page.write(tmp_path, card)
    assert "**1 preferences, 1 ratings to learn from, 0 held out" in (tmp_path / "card.md").read_text()


def test_sources_are_plotted_and_requests_by_their_verb_where_no_row_has_a_task(workspace: Workspace) -> None:
    asked = ["Write a poem", "Translate this", "Write a story"]
    rows = [row(text, "x", source=f"{at % 2}.jsonl") for at, text in enumerate(asked)]
    datasets.write(workspace, "set", [(one, "train") for one in rows], config={}, facts={})
    card = facts.card(workspace, artifacts.resolve(workspace, "datasets", "set"))
    assert card.scan.verbs == {"write": 2, "translate": 1}
    assert set(chart.figures(card)) == {"length", "source", "verb", "language"}


def test_lengths_fall_into_bands_that_hold_all_of_them() -> None:
    lengths = np.array([0, 1, 2, 3, 100, 10**6])
    bounds, counts = facts.histogram(lengths)
    assert (sum(counts), bounds[0], len(bounds)) == (6, 1, len(counts) + 1)
    assert facts.histogram(np.zeros(0)) == ([], [])


def test_the_command_writes_a_page_without_network_and_markdown(
    mixed: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "card"
    assert run(["data", "card", "both", "--out", str(out), "--workspace", str(mixed.path)]) == 0
    assert "Licence: cc-by-nc-4.0 (one); not declared (two)." in capsys.readouterr().out
    markdown = (out / "card.md").read_text()
    assert markdown.startswith('---\nlicense: other\npretty_name: "both@v1"\n')
    assert "| not chosen | 1,200 |" in markdown
    assert "\\<script\\>" in markdown
    assert "<script>" not in markdown
    html = (out / "card.html").read_text()
    shown = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    assert "<script>alert" not in shown
    assert "&lt;script&gt;alert(1)" in shown
    assert "one is under cc-by-nc-4.0" in shown
    assert not re.findall(r'(?:src|href)="(?!data:|#)', shown)
    assert run(["data", "card", "zebra", "--workspace", str(mixed.path)]) == 1
    assert "no dataset 'zebra'" in capsys.readouterr().err


def test_a_dataset_without_rows_or_tags_has_a_card(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    datasets.write(workspace, "bare", [], config={}, facts={})
    assert run(["data", "card", "bare", "--json", "--workspace", str(workspace.path)]) == 0
    assert (workspace.path / "cards" / "bare@v1" / "card.html").exists()
