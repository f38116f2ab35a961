"""``honed judge`` as a person types it; the work itself is done in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from honed.builtin.load import load
from honed.cli.main import run
from honed.evaluate.judge import worker
from honed.jobs import launch
from honed.jobs.job import Job
from honed.store.workspace import Workspace
from tests.evaluate.judge import made
from tests.evaluate.judge.standin import longer, serving
from tests.evaluate.planted import as_job, evaluation

FAST = ("--set", "endpoint.retries=0")


@pytest.fixture
def two(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Two files of answers; the workspace is the current one, and jobs are done at once."""

    def at_once(job: Job) -> None:
        job.set_result(worker.work(job, lambda: False))
        job.set_status(job.status().model_copy(update={"state": "done"}))

    monkeypatch.setattr(launch, "start", at_once)
    monkeypatch.chdir(workspace.path)
    base = made.answers(tmp_path / "base.jsonl", {f"Question {n}?": f"No {n}." for n in range(8)})
    tuned = made.answers(tmp_path / "tuned.jsonl", {f"Question {n}?": f"Yes, surely {n}." for n in range(8)})
    return base, tuned


def test_a_comparison_says_its_cost_its_result_and_how_far_to_trust_it(
    two: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(longer) as judge:
        asked = ["judge", *two, "--judge", "stand-in", "--endpoint", judge.url, *FAST]
        prices = ["--set", "endpoint.prompt_price=3", "--set", "endpoint.completion_price=15"]
        assert run([*asked, *prices, "--dry-run"]) == 0
        assert judge.asked == []
        assert "16 questions: " in (ahead := capsys.readouterr().out)
        assert "which cost 0.1" in ahead
        assert run([*asked, *prices]) == 0
        said = capsys.readouterr()
        assert "which cost 0.1" in said.err, "the cost is told before"
        assert "cost 0.0072" in said.out, "and after"
        assert "stand-in prefers the tuned model in 100 % of 8 prompts".replace("100 %", "100\u00a0%") in said.out
        assert "Only indicative, the judge isn't trusted (not measured)" in said.out
        assert Path(said.out.split("Report: ")[1].strip()).is_file()
        assert run([*asked, "--json", "--rows", "5"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["overall"]["n"], found["trust"]["state"]) == (5, "not measured")
        assert len(judge.asked) == 16, "what was paid for is not asked again"


def test_a_rubric_is_read_from_yaml(two: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rubric = tmp_path / "rubric.yaml"
    rubric.write_text("criteria:\n  brief: Is it short?\n")
    with serving(lambda *_: '{"scores": {"brief": 4}}') as judge:
        assert run(["judge", two[1], "--rubric", str(rubric), "--judge", "m", "--endpoint", judge.url, *FAST]) == 0
    assert "brief 4.00 of 5, 8 answers" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "give either 'model' (on this machine) or 'endpoint' (a server)"),
        (["--judge", "m", "--endpoint", "ftp://here"], "'ftp://here' is no address"),
        (["--judge", "m", "--endpoint", "http://127.0.0.1:1/v1", "--set", "endpoint.api_key_env=NO_SUCH"], "NO_SUCH"),
        (["--judge", "m", "--agreement", "base.jsonl"], "give either answers to judge, or labels"),
        (["--people", "--rubric", "rubric.yaml"], "people compare two evaluations"),
        (["--rubric", "empty.yaml", "--judge", "m"], "there are no criteria"),
        (["--judge", "m", "--set", "least_kapa=0.5"], "unknown key 'least_kapa'"),
    ],
)
def test_what_cannot_be_judged_is_said_before_anything_is_written(
    two: tuple[str, str], more: list[str], message: str, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace.path / "rubric.yaml").write_text("criteria:\n  brief: Is it short?\n")
    (workspace.path / "empty.yaml").write_text("criteria: {}\n")
    assert run(["judge", *two, *more]) == 1
    assert message in capsys.readouterr().err
    assert list(workspace.jobs.iterdir()) == []


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (["nothing"], "there is no job 'nothing'"),
        (["nothing.jsonl"], "nothing.jsonl: there is no such file"),
    ],
)
def test_answers_that_are_not_there_are_named(
    two: tuple[str, str], answers: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["judge", two[0], *answers, "--judge", "m", "--endpoint", "http://127.0.0.1:1/v1"]) == 1
    assert message in capsys.readouterr().err
    assert run(["judge", "--agreement", "gone.jsonl", "--judge", "m", "--endpoint", "http://127.0.0.1:1/v1"]) == 1
    assert "gone.jsonl: there is no such file" in capsys.readouterr().err


def test_the_gate_shows_what_a_judge_said_and_that_it_is_only_indicative(
    workspace: Workspace, two: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = load("heldout")[:20]
    base = as_job(workspace, evaluation(rows, 0.2, name="base", seed=1)).id
    tuned = as_job(workspace, evaluation(rows, 0.8, name="tuned", seed=2)).id
    gate = ["gate", tuned, base, "--set", "least_rows=10", "--json"]
    run(gate)
    alone = json.loads(capsys.readouterr().out)
    with serving(longer) as judge:
        asked = ["--judge", "stand-in", "--endpoint", judge.url, *FAST]
        assert run(["judge", base, tuned, *asked, "--json"]) == 0
        right = json.loads(capsys.readouterr().out)["job"]
        assert run(["judge", *two, *asked, "--json"]) == 0
        wrong = json.loads(capsys.readouterr().out)["job"]
    run([*gate, "--judged", right])
    beside = json.loads(capsys.readouterr().out)
    assert beside["decision"] == alone["decision"], "a judge's word decides nothing"
    assert (beside["judged"][0]["job"], beside["judged"][0]["trust"]) == (right, "not measured")
    assert "Only indicative" in beside["judged"][0]["said"]
    assert run([*gate, "--judged", wrong]) == 1
    assert "doesn't compare the answers of" in capsys.readouterr().err
