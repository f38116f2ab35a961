"""``honed gate``: its exit codes, the kept decision, the signed override."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from honed.builtin.load import load
from honed.cli.main import run
from honed.store.workspace import Workspace
from tests.evaluate.planted import as_job, evaluation
from tests.house.tree import ROOT

ROWS = load("heldout")[:140]


@pytest.fixture
def pair(workspace: Workspace) -> tuple[str, str]:
    """The jobs of a strong and of a weak model on the same rows."""
    weak, strong = evaluation(ROWS, 0.3, name="weak", seed=1), evaluation(ROWS, 0.8, name="strong", seed=2)
    return as_job(workspace, strong).id, as_job(workspace, weak).id


def gate(workspace: Workspace, capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str]:
    code = run(["gate", *args, "--workspace", str(workspace.path)])
    said = capsys.readouterr()
    return code, said.out + said.err


def test_the_exit_code_is_the_verdict(
    workspace: Workspace, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    strong, weak = pair
    code, out = gate(workspace, capsys, strong, weak)
    assert code == 0 and out.startswith("PROMOTE: strong in the place of weak") and "improved" in out
    code, out = gate(workspace, capsys, weak, weak)
    assert code == 3 and out.startswith("HOLD") and "is not shown to improve" in out
    code, out = gate(workspace, capsys, weak, strong, "--json")
    found = json.loads(out)
    assert code == 4 and (found["decision"], found["judgement"]["verdict"]) == ("reject", "reject")
    assert "fell" in found["judgement"]["reasons"][0]


def test_a_guarded_suite_decides_too(
    workspace: Workspace, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    strong, weak = (
        as_job(workspace, evaluation(ROWS, skill, name=name, seed=seed, data="safety@v1", data_hash="0" * 60)).id
        for name, skill, seed in (("strong", 0.2, 5), ("weak", 0.9, 6))
    )
    code, out = gate(workspace, capsys, *pair, "--guard", strong, weak)
    assert code == 4 and "Suite safety fell" in out


def test_settings_come_from_a_file_and_a_guarded_suite_that_is_missing_holds(
    workspace: Workspace, pair: tuple[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "gate.yaml"
    config.write_text("guarded: {safety: 0.02}\nsegments: [audience, benefit]\n")
    code, out = gate(workspace, capsys, *pair, "--config", str(config))
    assert code == 3 and "Suite safety is guarded, and nothing of it was measured." in out
    assert "benefit: precision" in out
    code, out = gate(workspace, capsys, *pair, "--set", "margn=0.1")
    assert code == 1 and "margin" in out


def test_the_example_is_a_gate(workspace: Workspace, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out = gate(workspace, capsys, *pair, "--config", str(ROOT / "examples/gate.yaml"))
    assert code == 3 and "Suite safety is guarded" in out


def test_pairs_of_other_models_or_the_same_rows_twice_are_refused(
    workspace: Workspace, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    strong, weak = pair
    other = as_job(workspace, evaluation(ROWS, 0.5, name="other", seed=4)).id
    code, out = gate(workspace, capsys, strong, weak, "--guard", other, weak)
    assert code == 1 and "are of other models" in out
    code, out = gate(workspace, capsys, strong, weak, "--guard", strong, weak)
    assert code == 1 and "is given twice" in out


def test_an_override_promotes_and_is_signed_with_who_and_why(
    workspace: Workspace, pair: tuple[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    strong, weak = pair
    kept = tmp_path / "gate.json"
    given = (weak, strong, "--out", str(kept), "--override", "The old model leaks names.", "--by", "Ada")
    code, out = gate(workspace, capsys, *given)
    assert code == 0 and out.startswith("PROMOTE") and "the gate said reject; overridden by Ada" in out
    found = json.loads(kept.read_text())
    assert found["judgement"]["verdict"] == "reject" and found["override"]["reason"] == "The old model leaks names."
    assert gate(workspace, capsys, "--check", str(kept))[0] == 0
    kept.write_text(kept.read_text().replace("Ada", "Bob"))
    code, out = gate(workspace, capsys, "--check", str(kept))
    assert code == 1 and "the signature isn't this workspace's" in out


def test_an_override_of_a_promotion_is_not_recorded_and_one_without_a_reason_is_refused(
    workspace: Workspace, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = gate(workspace, capsys, *pair, "--override", "to be sure", "--json")
    assert code == 0 and json.loads(out)["override"] is None
    assert gate(workspace, capsys, *pair, "--override", " ")[0] == 1
    assert gate(workspace, capsys, *pair, "--by", "Ada")[0] == 1
    assert gate(workspace, capsys)[0] == 2


def test_a_decision_lies_beside_the_candidates_answers(
    workspace: Workspace, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    strong, weak = pair
    gate(workspace, capsys, strong, weak)
    assert gate(workspace, capsys, "--check", str(workspace.jobs / strong / f"against-{weak}" / "gate.json"))[0] == 0
