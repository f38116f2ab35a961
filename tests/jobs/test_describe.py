from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from honed.jobs import job as jobs
from honed.jobs.describe import describe
from honed.jobs.events import Note, Step
from honed.jobs.job import Job
from honed.store.workspace import Workspace
from tests.jobs.counting import CountConfig


@pytest.fixture
def job(workspace: Workspace) -> Job:
    return jobs.create(workspace, "counting", CountConfig())


def test_a_long_job_is_described_from_the_end_of_its_log_and_without_its_past_in_memory(job: Job) -> None:
    step = Step(stage="count", step=1, total=9, values={"loss": 0.5, "tokens_per_second": 270.0})
    past = (step.model_dump_json() + "\n") * 20_000
    last = step.model_copy(update={"step": 9}).model_dump_json()
    (job.path / "events.jsonl").write_text(f"{past}{Note(text='said').model_dump_json()}\n{last}\n")
    lines = [f"line {number}" for number in range(20)]
    (job.path / "log.txt").write_text("a line of the past\n" * 1_000_000 + "\n".join(lines))
    tracemalloc.start()
    found = describe(job)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000
    assert found["log"] == lines[-15:]
    assert [(at["stage"], at["step"]) for at in found["progress"]] == [("count", 9)] and found["notes"] == ["said"]


def test_the_end_of_a_log_is_lines_whatever_ends_them(job: Job) -> None:
    assert describe(job)["log"] == []
    (job.path / "log.txt").write_bytes(b"1 of 9\r2 of 9\r\n\xff and so on\nthe last")
    assert describe(job)["log"] == ["1 of 9", "2 of 9", "\ufffd and so on", "the last"]
    (job.path / "log.txt").write_bytes(b"x" * 100_000)
    assert describe(job)["log"] == ["x" * 65_536]


def test_a_file_that_goes_while_the_job_is_looked_at_is_left_out(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    (job.path / "checkpoints").mkdir()
    for name in ("1.safetensors", "2.safetensors"):
        (job.path / "checkpoints" / name).write_text("four")
    stat = Path.stat

    def tidied(path: Path, **rest: bool) -> os.stat_result:
        about = stat(path, **rest)
        if path.name == "1.safetensors":
            path.unlink()
        return about

    monkeypatch.setattr(Path, "stat", tidied)
    describe(job)  # it goes behind the first look at it
    (job.path / "checkpoints" / "gone").symlink_to("1.safetensors")  # found in the folder, and gone before the first
    files = describe(job)["files"]
    assert files["checkpoints/2.safetensors"] == 4 and set(files) >= {"config.yaml", "status.json"}
    assert not {"checkpoints/1.safetensors", "checkpoints/gone"} & set(files)
