"""``honed gate``: its exit codes, the kept decision, the signed override."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from honed.builtin.load import load
from honed.cli.main import run
from honed.evaluate import scoring
from honed.evaluate.outcome import Answer
from honed.evaluate.suites import chosen
from honed.evaluate.vacuous import vacuous
from honed.records import Conversation
from honed.registry import Verifier
from honed.store import artifacts
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
    example = ("--config", str(ROOT / "examples/gate.yaml"))
    code, out = gate(workspace, capsys, *pair, *example)
    assert code == 3 and "Suite benefits is guarded" in out
    guard = guarded(workspace, ["benefits"])
    code, out = gate(workspace, capsys, *pair, "--guard", *guard, *example)
    assert code == 0 and "Suite benefits did not fall" in out, out


def guarded(workspace: Workspace, suites: list[str]) -> tuple[str, str]:
    """The strong and the weak model on suites of which they answer every row alike."""
    rows = [row.conversation for row in chosen.read(suites).rows]
    name = chosen.read(suites).manifest.name
    where = {"data": f"suite {name}", "data_hash": chosen.read(suites).hash}
    strong, weak = (
        as_job(workspace, evaluation(rows, 0.7, name=model, seed=3, **where)).id for model in ("strong", "weak")
    )
    return strong, weak


def test_constant_answers_are_not_promoted_and_their_floor_stands_beside(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = [row.conversation for row in chosen.read(["ifbench"]).rows]
    where = {"data": "suite ifbench", "data_hash": chosen.read(["ifbench"]).hash}
    weak = as_job(workspace, evaluation(rows, 0.0, name="weak", **where)).id
    known = scoring.verifiers(rows)
    made = evaluation(rows, 0.0, name="oks", **where)
    answers = {row.id: answered(made.answers[row.id], row, "ok", known) for row in rows}
    oks = as_job(workspace, replace(made, answers=answers)).id
    kept = tmp_path / "gate.json"
    code, out = gate(workspace, capsys, oks, weak, "--out", str(kept))
    assert code == 3 and "is not shown to improve by answers that aren't vacuous" in out, out
    line = next(line for line in out.splitlines() if line.startswith("ifbench"))
    (suite,) = json.loads(kept.read_text())["judgement"]["suites"]
    assert suite["difference"] > 0.2 and suite["p_value"] < 0.001
    assert suite["guarded"]["difference"] <= 0 and suite["guarded"]["p_value"] > 0.5
    assert suite["floors"]["constant"]["rate"] == suite["after"]["rate"]
    assert f"{100 * suite['floors']['constant']['rate']:.0f}" in line


def answered(answer: Answer, row: Conversation, text: str, known: Mapping[str, Verifier]) -> Answer:
    """The same row answered otherwise, and judged."""
    score = scoring.judge(row, text, known)
    assert score is not None
    empty = vacuous(row.prompt, text, row.answer, scoring.CONSTANTS)
    return answer.model_copy(update={"answer": text, "passed": score.passed, "why": score.why, "vacuous": empty})


def test_rows_of_which_no_floor_is_known_are_compared_and_judged_without(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As another harness leaves them that was told to try none."""
    ids = []
    for name, skill, seed in (("strong", 0.8, 2), ("weak", 0.3, 1)):
        made = evaluation(ROWS, skill, name=name, seed=seed, floors=None)
        bare = {row: answer.model_copy(update={"floors": {}}) for row, answer in made.answers.items()}
        ids.append(as_job(workspace, replace(made, answers=bare)).id)
    code, out = gate(workspace, capsys, *ids)
    assert code == 0 and out.startswith("PROMOTE")
    assert run(["compare", *reversed(ids), "--out", str(tmp_path / "page"), "--workspace", str(workspace.path)]) == 0
    shown = capsys.readouterr().out
    assert "Floors:" not in shown and "higher floor" not in shown
    assert "weak" in (tmp_path / "page" / "report.html").read_text()


def test_evaluations_of_training_rows_are_refused(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    weak, strong = (
        as_job(workspace, evaluation(ROWS, skill, name=name, split="train")).id
        for name, skill in (("weak", 0.3), ("strong", 0.8))
    )
    code, out = gate(workspace, capsys, strong, weak)
    assert code == 1 and "its train rows were answered" in out and "--split heldout" in out


def test_what_else_differs_between_the_two_is_said_and_kept(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    weak = as_job(workspace, evaluation(ROWS, 0.3, name="weak", seed=1)).id
    strong = as_job(workspace, evaluation(ROWS, 0.8, name="strong", seed=2, precision="bf16")).id
    code, out = gate(workspace, capsys, strong, weak)
    assert code == 0 and "note on company@v1: The two ran in fp32 on cpu and bf16 on cpu" in out
    (side,) = json.loads(gate(workspace, capsys, strong, weak, "--json")[1])["sides"]
    assert side["split"] == "heldout" and "bf16" in side["notes"][0]


def test_a_misspelt_tag_guards_nobody_and_holds(
    workspace: Workspace, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = gate(workspace, capsys, *pair, "--set", "segments=[audiense]")
    assert code == 3 and "no row has the tag 'audiense' in any suite" in out
    assert "note on company@v1: Of those that have a verifier, no row has the tag 'audiense'" in out


def test_a_file_of_segments_guards_its_segments(
    workspace: Workspace, pair: tuple[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "segments.yaml"
    file.write_text("segments:\n- {name: young, where: {audience: child}}\n")
    code, out = gate(workspace, capsys, *pair, "--set", f"segments=[{file}]")
    assert code == 0 and "segment: young" in out, out
    file.write_text("segments:\n- {name: young, where: {audience: kid}}\n")
    code, out = gate(workspace, capsys, *pair, "--set", f"segments=[{file}]", "--json")
    found = json.loads(out)
    assert code == 3 and "no row is of the segment 'young'" in found["judgement"]["reasons"][0]
    assert found["config"]["rules"] == [{"name": "young", "where": {"audience": ["kid"]}}]


def test_the_primary_suite_can_be_named(
    workspace: Workspace, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    guard = guarded(workspace, ["knowledge"])
    primary = ("--set", "primary=company")
    code, out = gate(workspace, capsys, *guard, "--guard", *pair, *primary, "--json")
    roles = {suite["name"]: suite["role"] for suite in json.loads(out)["judgement"]["suites"]}
    assert (code, roles) == (0, {"knowledge": "keep", "company": "improve"})
    assert gate(workspace, capsys, *guard, "--guard", *pair)[0] == 3  # else it is the first one
    code, out = gate(workspace, capsys, *pair, "--set", "primary=compny")
    assert code == 1 and "nothing of 'compny' was measured" in out and "Suites given: company." in out


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


def test_promoting_by_hand_says_what_the_gate_said_of_the_model(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    def promote(*args: str) -> tuple[int, str, str]:
        code = run(["promote", *args, "--why", "by hand", "--workspace", str(workspace.path)])
        said = capsys.readouterr()
        return code, said.out, said.err

    for content in "ab":
        with artifacts.draft(workspace, "models", "desk") as scratch:
            (scratch / "answer.txt").write_text(content)
            artifacts.publish(scratch, "models", parents={}, config={}, facts={})
    old = as_job(workspace, evaluation(ROWS, 0.8, name="desk@v1", seed=1)).id
    new = as_job(workspace, evaluation(ROWS, 0.3, name="desk@v2", seed=2)).id
    assert promote("desk@v1") == (0, "live is desk@v1.\n", "")  # the gate was never asked
    gate(workspace, capsys, new, old)
    code, out, err = promote("desk@v2", "--alias", "canary", "--json")
    assert code == 0 and json.loads(out)["gate"].startswith("The gate said reject of desk@v2 against desk@v1 (")
    assert "Suite company fell" in err or "Suite company fell" in json.loads(out)["gate"]
    gate(workspace, capsys, new, old, "--override", "The old one leaks names.", "--by", "Ada")
    assert "overridden by Ada: The old one leaks names." in promote("desk@v2", "--alias", "beta")[2]
    kept = workspace.jobs / new / f"against-{old}" / "gate.json"
    kept.write_text(kept.read_text().replace("Ada", "Bob"))
    code, out, err = promote("desk@v2", "--alias", "gamma")
    assert code == 0 and "can't be relied on" in err and "Bob" not in err
