"""``honed evaluate --suite``: stored answers scored without torch, and a tiny model asked the prompts of a suite."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from honed.cli.main import run
from honed.evaluate import outcome, scoring, worker
from honed.evaluate import run as evaluating
from honed.evaluate.config import EvaluateConfig
from honed.evaluate.outcome import Answer
from honed.evaluate.suites import scores, suite
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.job import Job
from honed.store.workspace import Workspace
from tests.tiny import tiny_folder

ROWS = [
    ("Say hello.", "punctuation:no_comma", {}),
    ("Name the sea.", "keywords:existence", {"keywords": ["sea"]}),
    ("Give a title.", "detectable_format:title", {}),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A suite of three rows."""
    made = tmp_path / "mine"
    made.mkdir()
    (made / suite.MANIFEST).write_text(json.dumps({"name": "mine", "licence": "CC0-1.0"}))
    rows = [
        {
            "id": str(place),
            "prompt": prompt,
            "check": {"verifier": "ifeval", "params": {"instructions": [{"id": id_, "kwargs": kwargs}]}},
            "tags": {"audience": "expert" if place else "beginner"},
        }
        for place, (prompt, id_, kwargs) in enumerate(ROWS)
    ]
    (made / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """Answers to two of the rows, one to another prompt."""
    path = tmp_path / "answers.jsonl"
    given = [("Give a title.", "<<Yes>>\nText"), ("Say hello.", "Hello, you."), ("Say no.", "No.")]
    path.write_text("".join(json.dumps({"prompt": one, "response": other}) + "\n" for one, other in given))
    return path


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that lies in no workspace."""
    monkeypatch.delenv("HONED_WORKSPACE", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("nowhere")
def test_stored_answers_are_scored_as_one_json_document_and_need_no_workspace(
    folder: Path, answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", "--answers", str(answers), "--suite", str(folder), "--json"]) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert [(row["prompt"], row["strict"], row["loose"]) for row in document["rows"]] == [
        ("Say hello.", [False], [False]),
        ("Name the sea.", [False], [False]),
        ("Give a title.", [True], [True]),
    ]
    assert document["totals"]["prompt_strict"]["passed"] == 1
    assert document["answers"]["unknown"] == [f"{answers}:3: prompt: not in the suite: 'Say no.'"]
    assert f"{answers}:3: prompt: not in the suite" in said.err
    assert "1 rows of the suite have no answer and fail" in said.err


@pytest.mark.usefixtures("nowhere")
def test_stored_answers_are_scored_as_a_table(folder: Path, answers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "--answers", str(answers), "--suite", str(folder)]) == 0
    out = capsys.readouterr().out
    for part in (
        "mine (CC0-1.0), 3 prompts",
        "prompts, strict",
        "33.3",
        "echo floor",
        "keywords:existence",
        "audience",
    ):
        assert part in out


@pytest.mark.usefixtures("nowhere")
def test_stored_answers_are_given_by_the_tags_and_the_file_of_segments_that_are_asked_for(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    many = [
        {**rows[0], "id": f"r{n}", "prompt": f"Say {n}.", "tags": {"region": "south" if n < 6 else "north"}}
        for n in range(13)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in many))
    answers = tmp_path / "given.jsonl"
    answers.write_text("".join(json.dumps({"prompt": row["prompt"], "response": "Hello"}) + "\n" for row in many))
    given = ["evaluate", "--answers", str(answers), "--suite", str(folder)]
    assert run([*given, "--set", "segments=[region]"]) == 0
    out = capsys.readouterr().out
    assert "region: north" in out and "region: south" in out
    rules = tmp_path / "segments.yaml"
    rules.write_text("segments: [{name: far, where: {region: north}}]\n")
    assert run([*given, "--set", f"evaluate.segments=[{rules}]", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["segments"]["segment"]["far"]["prompt_strict"]["n"] == 7


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ([], "--answers needs a suite"),
        (["smollm2-135m", "--suite", "ifeval"], "--answers and MODEL can't be given together"),
        (["--suite", "ifeval", "--max-tokens", "8"], "--answers and --max-tokens can't be given together"),
        (["--suite", "ifeval", "--set", "seed=1"], "--answers and --set seed can't be given together"),
        (["--suite", "ifeval", "--scorer", "exact"], "Every row of a suite has its own check."),
        (["--suite", "zebra"], "there is no suite 'zebra'"),
        (["--suite", "ifbench"], "none of its 3 prompts is in the suite 'ifbench'"),
    ],
)
@pytest.mark.usefixtures("nowhere")
def test_what_does_not_go_with_stored_answers_is_refused(
    answers: Path, more: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", "--answers", str(answers), *more]) == 1
    assert fault in capsys.readouterr().err


@pytest.mark.usefixtures("nowhere")
def test_a_model_still_needs_a_workspace_and_one_source_of_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "m", "--suite", "ifeval"]) == 1
    assert "no workspace here or above" in capsys.readouterr().err
    assert run(["evaluate", "m"]) == 1
    assert "give either 'data' or 'suite'" in capsys.readouterr().err
    assert run(["evaluate", "m", "--suite", "ifeval", "--data", "d"]) == 1
    assert run(["evaluate", "--suite", "ifeval"]) == 1
    assert "evaluate: model: this setting is required" in capsys.readouterr().err


def test_scoring_stored_answers_loads_no_torch(folder: Path, answers: Path) -> None:
    code = (
        "import sys; from honed.cli.main import run\n"
        f"assert run(['evaluate', '--answers', {str(answers)!r}, '--suite', {str(folder)!r}, '--json']) == 0\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_a_model_is_asked_the_prompts_of_a_suite_and_scored_as_its_stored_answers_are(
    workspace: Workspace,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def start(job: Job) -> None:
        job.set_result({**worker.work(job, lambda: False), "seconds": 1.0})
        job.set_status(job.status().model_copy(update={"state": "done"}))

    monkeypatch.setattr(launch, "start", start)
    model = tiny_folder(tmp_path / "model")
    config = EvaluateConfig(model=str(model), suite=str(folder), max_tokens=12)
    job = evaluating.run(workspace, config)
    found = outcome.result(job.result())
    assert found.suite is not None
    made = outcome.read(Answer, job.path / outcome.SAMPLES)
    mine = suite.read(str(folder))
    given = {row.id: made[row.conversation.id].answer for row in mine.rows}
    assert found.suite == scores.score(mine, given)
    assert (found.data, found.data_hash, found.n) == ("suite mine", mine.hash, 3)
    assert found.passed == found.suite.totals.prompt_strict.passed
    assert found.loss is None
    stored = tmp_path / "made.jsonl"
    lines = [json.dumps({"prompt": row.key, "response": given[row.id]}) + "\n" for row in mine.rows]
    stored.write_text("".join(lines))
    assert run(["evaluate", "--answers", str(stored), "--suite", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"] == found.suite.totals.model_dump(mode="json")
    again = ["evaluate", str(model), "--suite", str(folder), "--max-tokens", "12", "--workspace", str(workspace.path)]
    assert run(again) == 0
    assert "instructions, loose" in capsys.readouterr().out


def test_some_rows_of_a_suite_can_be_asked(workspace: Workspace, tmp_path: Path) -> None:
    model = tiny_folder(tmp_path / "model")
    config = EvaluateConfig(model=str(model), suite="ifeval", max_tokens=2, rows=4)
    found = outcome.result(worker.work(jobs.create(workspace, "evaluate", config), lambda: False))
    assert found.suite is not None
    assert (found.rows, found.suite.n, found.suite.answered) == (4, 4, 4)
    chosen, _ = scoring.choose([row.conversation for row in suite.read("ifeval").rows], 4, 0)
    assert [row.prompt for row in found.suite.rows] == [row.prompt[0].content for row in chosen]


def test_several_suites_are_asked_in_one_job_as_long_as_they_say(
    workspace: Workspace,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def start(job: Job) -> None:
        job.set_result({**worker.work(job, lambda: False), "seconds": 1.0})
        job.set_status(job.status().model_copy(update={"state": "done"}))

    monkeypatch.setattr(launch, "start", start)
    (folder / suite.MANIFEST).write_text(json.dumps({"name": "mine", "max_tokens": 3}))
    other = tmp_path / "other"
    other.mkdir()
    (other / suite.MANIFEST).write_text(json.dumps({"name": "other", "max_tokens": 5}))
    check = {"verifier": "f1", "params": {"answers": "a b"}}
    rows = [{"prompt": f"Say {n}.", "check": check, "tags": {"family": f"f{n // 2}"}} for n in range(8)]
    (other / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = tiny_folder(tmp_path / "model")
    command = ["evaluate", str(model), "--suite", str(folder), "--suite", str(other)]
    assert run([*command, "--workspace", str(workspace.path)]) == 0
    out = capsys.readouterr().out
    for part in ("suite mine, other", "mean value", "of 8 answers graded from 0 to 1", "other reliable@2"):
        assert part in out
    assert "suite: other 8" in " ".join(out.split()) and "suite: too few to say: mine (3 rows)" in out
    found = outcome.result(jobs.listing(workspace)[0].result())
    assert (found.max_tokens, found.n) == (5, 11)
    assert found.value is not None and found.value.n == 8
    assert (found.reliable["other"].k, found.reliable["other"].whole.n) == (2, 4)
    assert found.groups["suite"].passed["other"].n == 8
    assert found.groups["suite"].floors["other"].keys() == {"constant", "echo"}
    assert found.suite is not None and {row.id.partition("/")[0] for row in found.suite.rows} == {"mine", "other"}


def test_the_base_models_rates_stand_beside_those_of_a_suite_and_in_the_report(
    workspace: Workspace,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def start(job: Job) -> None:
        job.set_result({**worker.work(job, lambda: False), "seconds": 1.0})
        job.set_status(job.status().model_copy(update={"state": "done"}))

    monkeypatch.setattr(launch, "start", start)
    where = ["--suite", str(folder), "--max-tokens", "4", "--workspace", str(workspace.path)]
    model = str(tiny_folder(tmp_path / "model"))
    assert run(["evaluate", model, *where]) == 0
    assert "base floor" not in capsys.readouterr().out
    base = jobs.listing(workspace)[0]
    assert run(["evaluate", model, *where, "--base", base.id]) == 0
    out = capsys.readouterr().out
    assert f"by {model}" in out
    header = next(line for line in out.splitlines() if line.startswith("followed"))
    assert header.split("  ")[-1] == "base floor"
    tuned = next(job for job in jobs.listing(workspace) if job.id != base.id)
    found = outcome.result(tuned.result())
    assert found.base is not None and found.base.job == base.id and found.base.totals is not None
    assert run(["report", tuned.id, "--workspace", str(workspace.path)]) == 0
    report = tuned.path / "report"
    assert "base floor" in (report / "report.html").read_text() and "base floor" in (report / "report.md").read_text()
    (folder / "rows.jsonl").write_text((folder / "rows.jsonl").read_text().replace("Say hello", "Say good day"))
    assert run(["evaluate", model, *where, "--base", base.id]) == 1
    assert "no evaluation of the same rows" in capsys.readouterr().err


def test_a_scorer_is_refused_where_every_row_has_its_check(
    workspace: Workspace, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--workspace", str(workspace.path)]
    assert run(["evaluate", "m", "--suite", str(folder), "--scorer", "exact", *where]) == 1
    assert "every row of a suite has its own" in capsys.readouterr().err
