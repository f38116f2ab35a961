"""The whole loop, as ``examples/one_round.py`` shows it, on the tiny model: every stage is a real process or server."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import honed
from honed.rounds.lineage import Node
from honed.store import aliases, artifacts
from tests.tiny import tiny_folder

EXAMPLE = Path(__file__).parents[1] / "examples" / "one_round.py"
TRAINING = {"epochs": 16, "learning_rate": 1e-2, "batch_tokens": 512, "pack_tokens": 512, "eval_rows": 0} | {
    "weights": "full",
    "precision": "fp32",
    "device": "cpu",
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> honed.Workspace:
    return honed.init_workspace(tmp_path_factory.mktemp("one-round"))


@pytest.fixture(scope="module")
def lap(workspace: honed.Workspace, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("one_round", EXAMPLE)
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    base = tiny_folder(tmp_path_factory.mktemp("base"))
    return dict(example.one_round(workspace, str(base), TRAINING))


def test_the_round_teaches_what_the_edits_ask_for_and_keeps_what_was_known(lap: dict[str, Any]) -> None:
    assert lap["first"] == "assistant@v1"
    assert lap["round"]["verdict"] == "promoted", lap["round"]["reasons"]
    assert lap["round"]["candidate"] == "assistant@v2"
    assert any("polite improved" in reason and "p\xa0<\xa00.001" in reason for reason in lap["round"]["reasons"])


def test_the_new_model_is_explained_down_to_what_people_said(lap: dict[str, Any]) -> None:
    def kinds(node: Node) -> set[str]:
        return {node.kind}.union(*map(kinds, node.nodes))

    origin = lap["origin"]
    assert origin.ref == "assistant@v2"
    assert {"model", "dataset", "row", "event", "outside"} <= kinds(origin.sources)


def test_rolled_back_the_first_model_is_live_and_both_stay(lap: dict[str, Any], workspace: honed.Workspace) -> None:
    assert (lap["back"].before, lap["back"].now) == ("assistant@v2", "assistant@v1")
    assert aliases.target(workspace, "live") == "assistant@v1"
    assert {"assistant@v1", "assistant@v2"} <= {model.ref for model in artifacts.listing(workspace, "models")}


def test_the_example_is_one_readable_page() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 130
