from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable

import pytest

from honed import config
from honed.cli import progress
from honed.cli.options import HaltedError
from honed.cli.progress import Pace
from honed.errors import JobError
from honed.jobs import launch
from honed.jobs.events import Begun, Step
from honed.jobs.job import Job
from tests.cli.run import Terminal
from tests.jobs.counting import CountConfig


def _step(step: int, when: float, stage: str = "train") -> Step:
    return Step(time=when, stage=stage, step=step, total=10)


def test_the_pace_foresees_the_end_from_the_steps_so_far() -> None:
    pace = Pace()
    pace.seen(_step(1, 100.0))
    assert pace.seconds_left() is None
    pace.seen(_step(2, 103.0))
    assert pace.seconds_left() == 8 * 3.0
    pace.seen(_step(6, 111.0))
    assert pace.seconds_left() == pytest.approx(4 * 11 / 5)
    pace.seen(_step(10, 120.0))
    assert pace.seconds_left() == 0


def test_the_pace_looks_at_the_latest_steps_only() -> None:
    pace = Pace(window=2)
    for step in (_step(1, 0.0), _step(2, 100.0), _step(3, 101.0)):
        pace.seen(step)
    assert pace.seconds_left() == 7.0


def test_the_time_between_two_attempts_is_not_that_of_a_step(start, monkeypatch) -> None:
    job: Job = start(steps=1)
    list(launch.follow(job))
    job.log.write(Begun(time=0.0, attempt=1))
    for step in (_step(1, 1.0), _step(2, 2.0)):
        job.log.write(step)
    job.log.write(Begun(time=7000.0, attempt=2))  # it was stopped, saved at step 2, and goes on the next day
    for step in (_step(3, 7100.0), _step(4, 7101.0)):
        job.log.write(step)
    foreseen: list[float | None] = []
    monkeypatch.setattr(progress._Lines, "step", lambda _, step, left: foreseen.append(left))
    progress.follow(job)
    assert foreseen[-4:] == [None, 8.0, None, 6.0]


@pytest.mark.parametrize("after", [_step(3, 900.0), _step(1, 900.0), _step(9, 900.0, stage="answers")])
def test_a_step_back_or_another_stage_starts_the_pace_anew(after: Step) -> None:
    pace = Pace()
    pace.seen(_step(2, 0.0))
    pace.seen(_step(3, 1.0))
    pace.seen(after)
    assert pace.seconds_left() is None


def test_following_returns_the_result_and_says_notes_steps_and_metrics(start, capsys) -> None:
    job: Job = start(steps=3)
    assert progress.follow(job)["counted"] == 3
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[0] == "counting from 0"
    assert lines[1].startswith("count 1/3  loss 1")
    assert lines[3].startswith("count 3/3  loss 0.3333")
    assert lines[4] == "heldout loss 0.5 at step 3"


def test_plain_lines_are_few_however_many_steps_there_are(start, capsys) -> None:
    progress.follow(start(steps=500))
    steps = [line for line in capsys.readouterr().err.splitlines() if line.startswith("count ")]
    assert 5 <= len(steps) <= 15
    assert steps[-1].startswith("count 500/500")


def test_a_failed_job_raises_what_its_worker_said(start) -> None:
    with pytest.raises(JobError, match=r"rows\.json:3: answer: it is empty") as raised:
        progress.follow(start(fail="user"))
    assert raised.value.hint == "Write an answer, or remove the row."


def test_a_job_whose_worker_is_killed_says_so_and_how_to_go_on(start) -> None:
    job: Job = start(steps=400, seconds=0.05)
    os.kill(job.status().pid, signal.SIGKILL)
    with pytest.raises(JobError, match="its worker was killed") as raised:
        progress.follow(job)
    assert raised.value.hint == f"Go on with: honed jobs resume {job.id}"


def test_a_job_stopped_from_elsewhere_says_so(start) -> None:
    job: Job = start(steps=400, seconds=0.05)
    launch.stop(job)
    with pytest.raises(JobError, match="was stopped"):
        progress.follow(job)


def _interrupt_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    follow = launch.follow

    def interrupted(job: Job, start_at: int = 0):
        for event in follow(job, start_at):
            yield event
            if isinstance(event, Step) and event.step >= step:
                raise KeyboardInterrupt

    monkeypatch.setattr(launch, "follow", interrupted)


def test_ctrl_c_stops_the_worker_by_its_checkpoint(start, monkeypatch, capsys) -> None:
    job: Job = start(steps=400, seconds=0.02)
    _interrupt_after(2, monkeypatch)
    with pytest.raises(HaltedError, match="stopped") as raised:
        progress.follow(job)
    assert raised.value.hint == f"Go on with: honed jobs resume {job.id}"
    assert job.status().state == "stopped"
    assert int((job.path / "checkpoint.txt").read_text()) >= 2


def test_a_second_ctrl_c_just_as_the_job_has_stopped_says_how_to_go_on(start, monkeypatch) -> None:
    job: Job = start(steps=400, seconds=0.02)
    stop = launch.stop

    def stop_and_press(job: Job, timeout: float) -> None:
        stop(job, timeout)
        if timeout:
            raise KeyboardInterrupt

    monkeypatch.setattr(launch, "stop", stop_and_press)
    _interrupt_after(2, monkeypatch)
    with pytest.raises(HaltedError, match="stopped") as raised:
        progress.follow(job)
    assert raised.value.hint == f"Go on with: honed jobs resume {job.id}"


def test_ctrl_c_after_the_end_is_the_result(start, monkeypatch) -> None:
    job: Job = start(steps=2)
    list(launch.follow(job))
    _interrupt_after(2, monkeypatch)
    assert progress.follow(job)["counted"] == 2


def test_who_only_looks_on_leaves_the_job_alone(start, monkeypatch) -> None:
    job: Job = start(steps=400, seconds=0.02)
    _interrupt_after(2, monkeypatch)
    with pytest.raises(HaltedError, match="goes on unwatched"):
        progress.follow(job, owner=False)
    assert job.status().state == "running"
    launch.stop(job)


def test_ctrl_c_at_a_terminal_leaves_a_job_that_resumes(start: Callable[..., Job]) -> None:
    job = start(steps=60, seconds=0.05)
    launch.stop(job)
    terminal = Terminal("jobs", "resume", job.id, "--workspace", job.workspace.path)
    terminal.until(lambda shown: re.search(r"\d+/60", shown) is not None)
    terminal.press(b"\x03")
    assert terminal.end() == 130
    assert "it saves its state first" in terminal.shown
    assert f"Go on with: honed jobs resume {job.id}" in terminal.shown
    assert "Traceback" not in terminal.shown
    assert job.status().state == "stopped"

    config.save(CountConfig(steps=60), job.path / "config.yaml")  # the rest at once
    terminal = Terminal("jobs", "resume", "last", "--workspace", job.workspace.path)
    assert terminal.end() == 0
    assert "60/60" in terminal.shown
    assert job.result()["counted"] == 60
    assert job.status().attempt == 3


def test_a_second_ctrl_c_ends_a_worker_that_does_not_listen(start: Callable[..., Job]) -> None:
    job = start(steps=4000, seconds=0.05, deaf=True)
    os.kill(job.status().pid, signal.SIGKILL)
    terminal = Terminal("jobs", "resume", job.id, "--workspace", job.workspace.path)
    terminal.until(lambda shown: re.search(r"\d+/4000", shown) is not None)
    terminal.press(b"\x03")
    terminal.until(lambda shown: "Ctrl-C again" in shown)
    terminal.press(b"\x03")
    assert terminal.end() == 130
    assert "ended at once" in terminal.shown
    assert job.status().state == "interrupted"


def test_a_ctrl_c_that_can_not_stop_the_job_says_why_and_not_that_it_was_cut_off(start, monkeypatch) -> None:
    job: Job = start(steps=1)
    list(launch.follow(job))

    def refused(*_: object, **__: object) -> None:
        raise JobError("it runs elsewhere")

    monkeypatch.setattr(launch, "stop", refused)
    with job.held():
        job.begin()
        with pytest.raises(JobError, match="it runs elsewhere"):
            progress._halt(job)
    job.set_status(job.status().model_copy(update={"state": "done"}))
    progress._halt(job)  # it ended by itself in the meantime
