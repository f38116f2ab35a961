"""``honed evaluate`` and ``honed compare`` as they are typed."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from honed.builtin.load import load
from honed.cli.compare import terminal_table
from honed.cli.main import run
from honed.evaluate import compare
from honed.evaluate import worker as evaluating
from honed.jobs import launch
from honed.jobs.job import Job
from honed.store import datasets
from honed.store.workspace import Workspace
from tests.evaluate.planted import as_job, evaluation
from tests.tiny import tiny_folder

ROWS = load("heldout")[:70]


@pytest.fixture
def here(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The workspace that commands find; a started job does its work at once and in this process."""

    def start(job: Job) -> None:
        job.set_result({**evaluating.work(job, lambda: False), "seconds": 1.0})
        job.set_status(job.status().model_copy(update={"state": "done"}))

    monkeypatch.setenv("HONED_WORKSPACE", str(workspace.path))
    monkeypatch.setattr(launch, "start", start)
    return workspace


def test_evaluate_prints_the_scores_and_the_next_command(
    here: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_folder(tmp_path / "model")
    datasets.write(here, "company", ((row, "heldout") for row in ROWS), config={}, facts={})
    assert run(["evaluate", str(model), "--data", "company", "--rows", "6", "--max-tokens", "8"]) == 0
    out = capsys.readouterr().out
    for part in (
        "company@v1, 6 rows of heldout",
        "of 6",
        "floors",
        "held-out loss",
        "task: ",
        "honed compare BASE_EVAL",
    ):
        assert part in out


def test_evaluate_prints_one_json_document(here: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_folder(tmp_path / "model")
    datasets.write(here, "company", ((row, "heldout") for row in ROWS), config={}, facts={})
    sets = ["--set", "loss=false", "--set", "evaluate.max_tokens=4"]
    assert run(["evaluate", str(model), "--data", "company", "--rows", "3", "--json", *sets]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["n"], document["loss"], document["max_tokens"]) == (3, None, 4)
    assert document["job"].startswith("evaluate-")


def test_an_unknown_setting_is_an_error_of_two_lines(here: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "m", "--data", "company", "--set", "max_token=4"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: evaluate: unknown key 'max_token'",
        "  Did you mean 'max_tokens'?",
    ]


def test_compare_prints_a_table_and_writes_the_report(here: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    base = as_job(here, evaluation(ROWS, 0.2, name="base", seed=1))
    tuned = as_job(here, evaluation(ROWS, 0.8, name="tuned", seed=2))
    assert run(["compare", base.id, tuned.id]) == 0
    out = capsys.readouterr().out
    assert "The tuned model passes" in out
    assert "second language" in out
    page = tuned.path / f"against-{base.id}" / "report.html"
    assert page.exists()
    assert str(page) in out.replace("\n", "")


def test_compare_prints_one_json_document_and_writes_where_it_is_told(
    here: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = as_job(here, evaluation(ROWS, 0.2, name="base", seed=1))
    tuned = as_job(here, evaluation(ROWS, 0.8, name="tuned", seed=2))
    assert run(["compare", base.id, tuned.id, "--out", str(tmp_path / "out"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["report"] == str(tmp_path / "out" / "report.html")
    assert document["comparison"]["overall"]["verdict"] == "better"
    assert (tmp_path / "out" / "report.md").exists()


def test_comparing_other_rows_is_an_error_that_names_the_difference(
    here: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    base = as_job(here, evaluation(ROWS, 0.2, name="base"))
    tuned = as_job(here, evaluation(ROWS[:30], 0.8, name="tuned"))
    assert run(["compare", base.id, tuned.id]) == 1
    assert "rows 70 and 30" in capsys.readouterr().err


def test_names_with_console_markup_are_printed_as_they_are() -> None:
    rows = [row.model_copy(update={"tags": {**row.tags, "task": "[red]x[/red]"}}) for row in ROWS[:20]]
    found = compare.compare(evaluation(rows, 0.2, name="base"), evaluation(rows, 0.8, name="tuned"))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(terminal_table(found))
    text = console.export_text()
    assert "[red]x[/red]" in text
    assert "…" not in text


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, honed.cli.evaluate, honed.cli.compare\n"
        "print([name for name in ('torch', 'scipy', 'plotly', 'numpy', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
