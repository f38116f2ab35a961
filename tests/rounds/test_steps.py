"""A step is done once; the job of a step is found again, also where the round died before it noted its id."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from honed.errors import JobError
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.events import Note, Step
from honed.jobs.job import Job
from honed.jobs.worker import Stopped
from honed.rounds.steps import Ledger, Steps
from honed.store.workspace import Workspace
from tests.jobs.counting import CountConfig


@pytest.fixture
def round_(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setattr(launch, "WORKER", "tests.jobs.{stage}")
    return jobs.create(workspace, "rounds", CountConfig())


def steps(job: Job, stopping: Callable[[], bool] = lambda: False) -> Steps:
    return Steps(job, Ledger(job), stopping)


def begin(job: Job, config: CountConfig) -> Callable[[], Job]:
    def start() -> Job:
        made = jobs.create(job.workspace, "counting", config)
        launch.start(made)
        return made

    return start


def never() -> Job:
    raise AssertionError("it was begun anew")


def counting(job: Job) -> list[Job]:
    return [one for one in jobs.listing(job.workspace) if one.status().stage == "counting"]


def test_a_step_here_is_done_once_also_by_another_process(round_: Job) -> None:
    assert steps(round_).here("derive", lambda: {"rows": 3}) == {"rows": 3}
    assert steps(round_).here("derive", lambda: {"rows": 4}) == {"rows": 3}
    assert Ledger(round_).all("seconds")["derive"] >= 0


def test_a_step_away_gives_the_jobs_result_once_and_passes_its_events_on(round_: Job) -> None:
    config = CountConfig(steps=3)
    first = steps(round_).away("sft", config, begin(round_, config))
    assert first["counted"] == 3
    assert steps(round_).away("sft", config, never) == first
    events = round_.events()
    assert [event.step for event in events if isinstance(event, Step) and event.stage == "sft: count"] == [1, 2, 3]
    texts = [event.text for event in events if isinstance(event, Note)]
    assert f"sft: job {counting(round_)[0].id}" in texts and "sft: counting from 0" in texts


def test_asked_to_stop_before_a_step_nothing_is_begun(round_: Job) -> None:
    with pytest.raises(Stopped):
        steps(round_, lambda: True).away("sft", CountConfig(), never)
    with pytest.raises(Stopped):
        steps(round_, lambda: True).here("derive", dict)


def test_asked_to_stop_the_job_is_stopped_and_goes_on_when_the_round_does(round_: Job) -> None:
    config = CountConfig(steps=60, seconds=0.02)
    asked: list[bool] = []
    with pytest.raises(Stopped):
        steps(round_, lambda: len(asked) > 1 or asked.append(True) or False).away("sft", config, begin(round_, config))
    (job,) = counting(round_)
    assert job.status().state == "stopped"
    assert steps(round_).away("sft", config, never)["counted"] == 60
    assert job.status().attempt == 2 and job.result()["from"] > 0


def test_a_job_whose_id_was_never_noted_is_found_by_its_settings(round_: Job) -> None:
    config = CountConfig(steps=4)
    ledger = Ledger(round_)
    other = begin(round_, CountConfig(steps=5))()
    ledger.keep("sft", asked=0.0)
    job = begin(round_, config)()
    for one in (job, other):
        launch.wait(one)
    assert steps(round_).away("sft", config, never)["counted"] == 4
    assert Ledger(round_).of("sft")["job"] == job.id


def test_a_job_of_another_step_or_of_before_is_not_taken_for_this_one(round_: Job) -> None:
    config = CountConfig(steps=2)
    before = begin(round_, config)()
    launch.wait(before)
    os.utime(before.path / "config.yaml", (0, 0))
    made = steps(round_)
    made.away("before", config, begin(round_, config))
    made.away("after", config, begin(round_, config))
    assert len({before.id, Ledger(round_).of("before")["job"], Ledger(round_).of("after")["job"]}) == 3


def test_a_killed_job_fails_the_step_and_is_resumed_with_it(round_: Job) -> None:
    config = CountConfig(steps=60, seconds=0.02)
    pid: list[int] = []

    def kill() -> bool:
        running = [job.status().pid for job in counting(round_) if job.status().state == "running"]
        if running and not pid:
            pid.extend(running)
            os.kill(running[0], signal.SIGKILL)
        return False

    with pytest.raises(JobError, match=r"sft: job counting-.* was cut off") as raised:
        steps(round_, kill).away("sft", config, begin(round_, config))
    assert raised.value.hint == f"Go on with: honed jobs resume {round_.id}"
    assert steps(round_).away("sft", config, never)["counted"] == 60


def test_a_job_that_fails_is_told_in_its_own_words(round_: Job) -> None:
    config = CountConfig(fail="user")
    with pytest.raises(JobError, match=r"sft: rows\.json:3: answer: it is empty") as raised:
        steps(round_).away("sft", config, begin(round_, config))
    assert raised.value.hint.startswith("Write an answer, or remove the row. Go on with: honed jobs resume")


def test_a_job_whose_folder_was_removed_is_begun_anew(round_: Job) -> None:
    Ledger(round_).keep("sft", job="counting-gone")
    config = CountConfig(steps=1)
    assert steps(round_).away("sft", config, begin(round_, config))["counted"] == 1
