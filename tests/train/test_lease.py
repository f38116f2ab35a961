"""Ranks on other machines, which no lock and no signal reaches, end with the process that had them started."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from honed.jobs.job import Job
from honed.train import lease

RANK = """
import sys, time
from pathlib import Path
from honed.jobs.job import Job
from honed.train import lease

lease._LOOK_SECONDS, lease._LOOKS = 0.05, int(sys.argv[2])
with lease.living(Job(Path(sys.argv[1]), rank=1), sys.argv[3]):
    time.sleep(float(sys.argv[4]))
"""


@contextmanager
def rank(folder: Path, token: str, looks: int = 1000, seconds: float = 30.0) -> Iterator[subprocess.Popen[str]]:
    """A rank that has begun; it works for some seconds."""
    command = [sys.executable, "-c", RANK, str(folder), str(looks), token, str(seconds)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            while not lease.begun(Job(folder), token, ranks=2):
                assert process.poll() is None
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


def test_a_rank_ends_when_another_driver_has_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".beat").write_text("first")
    with rank(tmp_path, "first") as one:
        (tmp_path / ".beat").write_text("second")
        assert one.wait(timeout=20) == 1
        assert one.stderr and "rank 1 ends: its driver is gone" in one.stderr.read()
    assert not lease.begun(Job(tmp_path), "first", ranks=2)


def test_a_rank_without_its_driver_ends_though_its_log_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / ".beat").write_text("first")
    with rank(tmp_path, "first") as one:
        assert one.stderr
        one.stderr.close()  # a broken pipe for the rank, as a full disk would be
        (tmp_path / ".beat").write_text("second")
        assert one.wait(timeout=20) == 1


def test_a_rank_lives_as_long_as_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_BEAT_SECONDS", 0.02)
    with ExitStack() as driver, ExitStack() as ranks:
        token = driver.enter_context(lease.driving(Job(tmp_path), lambda: False))
        one = ranks.enter_context(rank(tmp_path, token, looks=30))
        with pytest.raises(subprocess.TimeoutExpired):
            one.wait(timeout=2)  # longer than it waits for a sign
        driver.close()
        assert one.wait(timeout=20) == 1


def test_a_rank_that_has_done_its_work_leaves_no_sign_of_life(tmp_path: Path) -> None:
    (tmp_path / ".beat").write_text("first")
    with rank(tmp_path, "first", seconds=0.3) as one:
        assert one.wait(timeout=20) == 0
    assert not lease.begun(Job(tmp_path), "first", ranks=2)
