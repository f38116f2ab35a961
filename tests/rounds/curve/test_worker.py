"""A curve from end to end: on a tiny model, and on quick stages killed, stopped, resumed and shown."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from honed.cli import main
from honed.errors import HonedError
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.events import Metric, Step
from honed.jobs.job import Job
from honed.rounds.curve import run, sizes
from honed.rounds.curve.outcome import CurveOutcome
from honed.store import artifacts
from honed.store.workspace import Workspace
from honed.train.config import TrainConfig
from tests.rounds.curve.desk import run_here, write_base, write_rows
from tests.tiny import tiny_folder


@pytest.fixture
def quick(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A base model and rows, with trainings and evaluations that take no model."""
    monkeypatch.setattr(launch, "WORKER", "tests.rounds.curve.fakes.{stage}")
    write_base(workspace)
    write_rows(workspace)
    return workspace


def start(workspace: Workspace, text: str = "4,8,16,32,all", **train: Any) -> Job:
    return run.run(workspace, TrainConfig(base="first", data="bills", **train), sizes.parse(text))


def outcome(job: Job) -> CurveOutcome:
    assert job.status().state == "done", (job.path / "log.txt").read_text()
    return CurveOutcome.model_validate(job.result())


def test_a_curve_trains_and_measures_every_size_on_the_same_rows(
    quick: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_here(monkeypatch)
    found = outcome(job := start(quick))
    assert [point.size for point in found.points] == [0, 4, 8, 16, 32, 60]
    assert [point.loss for point in found.points[1:]] == pytest.approx(
        [1.25 + 2 * size**-0.5 for size in (4, 8, 16, 32, 60)], abs=0.1
    )
    assert (found.heldout, found.loss_rows, found.judged) == (40, 40, 40)
    assert found.verdict == "more helps"
    assert found.law and found.law.identified and found.law.c == pytest.approx(0.5, abs=0.1)
    models = {one.manifest.name for one in artifacts.listing(quick, "models")} - {"first"}
    assert models == {f"bills-curve-{size}" for size in (4, 8, 16, 32, 60)}
    events = job.events()
    values = {(event.name, event.step) for event in events if isinstance(event, Metric)}
    assert {("curve heldout_loss", 4), ("curve pass_rate", 60)} <= values
    trained = [event.stage for event in events if isinstance(event, Step) and "train" in event.stage]
    assert trained == [f"train {size}: train" for size in (60, 4, 8, 16, 32)]  # the largest one gives the recipe


def test_the_page_needs_no_network_and_shows_every_size(quick: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run_here(monkeypatch)
    found = outcome(start(quick))
    text = Path(found.page).read_text()
    body = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"""(?:src|href)=["']?http""", body) and "default-src 'none'" in body
    assert found.words[0] in body
    data = json.loads(re.findall(r'id="data">(.*?)</script>', text, flags=re.DOTALL)[0])
    assert set(data["charts"]) == {"loss", "passed"}
    trained = next(trace for trace in data["charts"]["loss"]["data"] if trace.get("name") == "trained")
    assert trained["x"] == [4, 8, 16, 32, 60] and trained["y"] == [point.loss for point in found.points[1:]]
    assert len(trained["error_y"]["array"]) == 5


def test_what_a_name_says_is_escaped_in_the_page(quick: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from honed.rounds.curve import page

    run_here(monkeypatch)
    found = outcome(job := start(quick, "4,all"))
    path = page.write(job.path, found.model_copy(update={"base": "<img src=x onerror=alert(1)>"}))
    assert "<img src=x" not in path.read_text()


def test_without_verifiers_the_loss_alone_decides(quick: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run_here(monkeypatch)
    write_rows(quick, checks=False)
    found = outcome(start(quick, "4,all"))
    assert found.judged == 0 and found.points[1].passed is None and found.points[1].gain


def test_a_killed_curve_goes_on_where_it_was(quick: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(launch._OTHERS, "curve", "tests.rounds.curve.fakes.curve")
    (quick.path / "wait").touch()
    job = start(quick, "4,all")
    _until(lambda: len(_made(quick)) == 2, job)  # the largest size is there, the next one waits
    os.kill(job.status().pid, signal.SIGKILL)
    _until(lambda: job.status().state == "interrupted", job)
    (quick.path / "wait").unlink()
    launch.resume(job)
    launch.wait(job)
    found = outcome(job)
    assert [point.size for point in found.points] == [0, 4, 60]
    assert len([one for one in jobs.listing(quick) if one.status().stage == "train"]) == 2
    assert [one.manifest.version for one in artifacts.listing(quick, "models")] == [1, 1, 1]


def test_a_stopped_curve_stops_its_training_and_goes_on_when_resumed(
    quick: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(launch._OTHERS, "curve", "tests.rounds.curve.fakes.curve")
    (quick.path / "wait").touch()
    job = start(quick, "4,all")
    _until(lambda: len(_made(quick)) == 2, job)
    launch.stop(job)
    assert job.status().state == "stopped"
    assert [one.status().state for one in jobs.listing(quick) if one.status().stage == "train"] == ["done", "stopped"]
    (quick.path / "wait").unlink()
    launch.resume(job)
    launch.wait(job)
    assert outcome(job).points[-1].size == 60


def _made(workspace: Workspace) -> list[Job]:
    return [
        one for one in jobs.listing(workspace) if one.status().stage == "train" and (one.path / "events.jsonl").exists()
    ]


def _until(seen: Any, job: Job) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline, (job.path / "log.txt").read_text()
        time.sleep(0.05)


def test_the_command_ends_in_a_table_and_a_verdict(
    quick: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_here(monkeypatch)
    monkeypatch.setenv("COLUMNS", "100")
    args = ["train", "--base", "first", "--data", "bills", "--curve", "4,8,16,32,1k,all", "--set", "evaluate.rows=30"]
    assert main.run([*args, "--workspace", str(quick.path)]) == 0
    said = capsys.readouterr()
    lines = said.out.replace("\u00a0", " ").splitlines()
    assert lines[0] == "Learning curve of first@v1 on bills@v1, measured on 30 held-out rows"
    assert lines[2].split()[:3] == ["rows", "steps", "min"]
    assert [line.split()[0] for line in lines[3:9]] == ["base", "4", "8", "16", "32", "60"]
    assert any(line.startswith("From 32 to 60 rows the held-out loss still fell by") for line in lines)
    assert "size 1,000 is left out: there are 60 training rows" in said.err
    assert "curve.html" in said.err
    assert main.run([*args, "--json", "--workspace", str(quick.path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "more helps" and len(told["points"]) == 6


def test_a_wrong_size_is_two_lines(quick: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["train", "--base", "first", "--data", "bills", "--workspace", str(quick.path), "--curve"]
    assert main.run([*args, "64,16"]) == 1
    assert capsys.readouterr().err.splitlines()[0] == "error: --curve: '16' comes after 64"
    assert main.run([*args, ""]) == 1  # as of a variable that isn't set: no training of all rows begins
    assert capsys.readouterr().err.splitlines()[0] == "error: --curve: '' is no number of rows"


def test_a_tiny_model_learns_more_from_more_rows(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_here(monkeypatch)
    write_rows(workspace, train=48)
    config = TrainConfig(
        base=str(tiny_folder(tmp_path / "tiny", context=256)), data="bills", learning_rate=3e-3, weights="full",
        precision="fp32", eval_rows=0, batch_tokens=512, pack_tokens=512,
    )  # fmt: skip
    try:
        job = run.run(workspace, config, sizes.parse("4,all"), {"max_tokens": 4})
    except HonedError as error:
        pytest.fail(str(error))
    found = outcome(job)
    base, small, full = (point.loss or 0.0 for point in found.points)
    assert full < small < base
    assert found.points[1].trained and found.points[1].trained.rows == 4
    assert found.verdict == "more helps" and found.recipe["weights"] == "full"
