"""Events reach a tracker once, whatever happens to job and reader; secrets don't; a failing tracker harms nobody."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml

from honed.cli import main
from honed.errors import ConfigError, JobError
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.events import Metric, Note, SampleMade, Step
from honed.jobs.job import Job, State
from honed.jobs.trackers import beside, reader
from honed.jobs.trackers import tracker as trackers
from honed.jobs.trackers.tracker import HIDDEN, Backend, Run
from honed.store.workspace import Workspace
from tests.jobs.counting import CountConfig
from tests.jobs.trackers.conftest import end


@dataclass
class Fake:
    """A tracker that remembers what it is told; it fails at the scalar named ``fail``, or to ``begin``."""

    runs: list[Run] = field(default_factory=list)
    numbers: list[tuple[str, float, int]] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    closed: list[State] = field(default_factory=list)
    flushed: int = 0
    fail: str = ""
    said: str = "the network is gone"
    where: str = "memory"
    at: str = "memory of one machine"

    def begin(self, run: Run) -> Fake:
        if self.fail == "begin":
            raise OSError(self.said)
        self.runs.append(run)
        return self

    def home(self, run: Run) -> str:
        return self.at

    def scalars(self, values: Mapping[str, float], step: int, when: float) -> None:
        assert when > 0
        if self.fail in values:
            raise OSError(self.said)
        self.numbers += [(name, value, step) for name, value in values.items()]

    def text(self, name: str, text: str, step: int, when: float) -> None:
        self.texts.append((name, text))

    def flush(self) -> None:
        self.flushed += 1

    def close(self, state: State) -> None:
        self.closed.append(state)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    made = Fake()
    monkeypatch.setattr(trackers, "find", lambda _: Backend("json", made.begin, made.home))
    return made


def test_every_kind_of_event_arrives_with_the_settings_and_the_result(job: Job, fake: Fake) -> None:
    end(job)
    sent = reader.track(job, "fake")
    assert (sent.where, sent.events) == ("memory", 8)
    (run,) = fake.runs
    assert (run.name, run.stage, run.again) == (job.id, "counting", False)
    assert run.settings["steps"] == 3
    numbers = {(name, step): value for name, value, step in fake.numbers}
    assert [numbers["sft/train/loss", step] for step in (1, 2, 3)] == [1, 1 / 2, 1 / 3]
    assert numbers["heldout_loss", 3] == 0.5
    assert numbers["answers/passed", 1] == 1
    assert (numbers["result/loss", 0], numbers["result/ran.learning_rate", 0], numbers["seconds", 0]) == (
        0.25,
        1e-3,
        2.5,
    )
    texts = dict(fake.texts)
    assert texts["notes"] == "counting <b>from</b> 0" and texts["answers"] == "r1 (passes): billing"
    assert texts["artifacts"] == "m@v1: /somewhere"
    assert texts["result"].splitlines() == ["model: m@v1", "ran.device: cpu"]
    assert fake.closed == ["done"] and fake.flushed


def test_what_was_sent_is_not_sent_again_and_what_came_since_is(job: Job, fake: Fake) -> None:
    assert reader.track(job, "fake").events == 7
    end(job)
    assert reader.track(job, "fake").events == 1
    assert reader.track(job, "fake").events == 0
    assert len([name for name, _, _ in fake.numbers if name == "sft/train/loss"]) == 3
    assert len([name for name, _, _ in fake.numbers if name == "result/loss"]) == 1
    assert [run.again for run in fake.runs] == [False, True, True]


def test_another_destination_gets_everything_and_this_is_said(
    job: Job, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    reader.track(job, "fake")
    assert "anew" not in capsys.readouterr().err
    before = list(fake.numbers)
    fake.numbers, fake.at = [], "memory of another machine"
    end(job)
    sent = reader.track(job, "fake")
    assert (sent.events, sent.anew) == (8, True)
    assert fake.numbers[: len(before)] == before and ("result/loss", 0.25, 0) in fake.numbers
    assert [run.again for run in fake.runs] == [False, False]
    assert f"job {job.id} in fake: its run is at another destination" in capsys.readouterr().err
    again = reader.track(job, "fake")
    assert (again.events, again.anew) == (0, False)


def test_a_destination_that_comes_again_gets_only_what_came_since(job: Job, fake: Fake) -> None:
    reader.track(job, "fake")
    fake.at = "memory of another machine"
    reader.track(job, "fake")
    fake.at = "memory of one machine"
    end(job)
    fake.numbers = []
    sent = reader.track(job, "fake")
    assert (sent.events, sent.anew) == (1, False) and fake.runs[-1].again
    assert not any(name == "sft/train/loss" for name, _, _ in fake.numbers)
    fake.at = "memory of another machine"
    assert reader.track(job, "fake").events == 1


def test_a_run_that_was_deleted_gets_everything(job: Job, fake: Fake) -> None:
    reader.track(job, "fake")
    fake.at = ""
    assert reader.track(job, "fake").events == 7


def test_a_destination_that_could_not_be_reached_leaves_the_one_before_as_it_is(job: Job, fake: Fake) -> None:
    reader.track(job, "fake")
    kept = reader.read(job, "fake")
    fake.at, fake.fail = "memory of another machine", "begin"
    with pytest.raises(OSError, match="network"):
        reader.track(job, "fake")
    assert reader.read(job, "fake") == kept
    fake.at, fake.fail = "memory of one machine", ""
    assert reader.track(job, "fake").events == 0


def test_another_destination_leaves_the_reader_beside_the_job(job: Job, fake: Fake) -> None:
    reader.keep(job, "fake", reader.Progress(beside=True))
    reader.track(job, "fake")
    fake.at = "memory of another machine"
    reader.track(job, "fake")
    assert reader.read(job, "fake").beside


def test_a_destination_is_kept_without_its_password(job: Job, fake: Fake) -> None:
    fake.at = "https://me:hush@host"
    reader.track(job, "fake")
    fake.at = "https://me:hush@other"
    reader.track(job, "fake")
    assert not any("hush" in path.read_text() for path in (job.path / reader.FOLDER).iterdir())


def test_how_far_an_older_version_came_still_holds(job: Job, fake: Fake) -> None:
    reader.track(job, "fake")
    path = reader.place(job, "fake")
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({name: fields[name] for name in fields if name not in ("home", "elsewhere")}))
    sent = reader.track(job, "fake")
    assert (sent.events, sent.anew) == (0, False) and fake.runs[-1].again
    fake.at = "memory of another machine"
    assert reader.track(job, "fake").anew


def test_steps_that_a_resumed_job_repeats_are_sent_once(job: Job, fake: Fake) -> None:
    for step in (2, 3, 4):
        job.log.write(Step(stage="sft: train", step=step, total=4, values={"loss": 1.0}))
    reader.track(job, "fake")
    assert [step for name, _, step in fake.numbers if name == "sft/train/loss"] == [1, 2, 3, 4]


def test_secrets_never_leave(job: Job, fake: Fake) -> None:
    settings = yaml.safe_load((job.path / "config.yaml").read_text())
    database = "postgresql://me:hush@host/db"
    settings |= {"api_key": "hush", "hub": {"token": "hush"}, "batch_tokens": 8, "database": database}
    (job.path / "config.yaml").write_text(yaml.safe_dump(settings))
    reader.track(job, "fake")
    found = fake.runs[0].settings
    assert found["api_key"] == found["hub.token"] == HIDDEN
    assert found["batch_tokens"] == 8
    assert found["database"] == f"postgresql://{HIDDEN}@host/db"
    assert "hush" not in str(found)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("postgresql://me:hush@host/db", "postgresql://(hidden)@host/db"),
        ("postgresql://me:hu@sh@host/db", "postgresql://(hidden)@host/db"),
        ("postgresql://me:hu/sh@host/db", "postgresql://(hidden)@host/db"),
        ("no reply of https://hush@host: gone", "no reply of https://(hidden)@host: gone"),
        ("https://host/?write_token=hush&x=1", "https://host/?write_token=(hidden)&x=1"),
        ("url: /api?x=1&apiKey=hush (refused)", "url: /api?x=1&apiKey=(hidden) (refused)"),
        ("host=db password=hush", "host=db password=(hidden)"),
        ("Client(api_key='hu sh', retries=3)", "Client(api_key=(hidden), retries=3)"),
        ('{"token": "hush", "run": 7}', '{"token": (hidden), "run": 7}'),
        ("Authorization: Bearer hush", "Authorization: Bearer (hidden)"),
        ("password=hu#sh", "password=(hidden)"),
        ("https://host:5000/x?by=me@here.org", "https://host:5000/x?by=me@here.org"),
        ("https://host:5000/runs/1 and me@here.org", "https://host:5000/runs/1 and me@here.org"),
        ("batch_tokens=8", "batch_tokens=8"),
    ],
)
def test_credentials_in_a_text_are_hidden_and_nothing_else(said: str, shown: str) -> None:
    assert trackers.masked(said) == shown


def test_credentials_are_told_nowhere(
    job: Job, fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "nice", lambda _: 0)
    fake.where = "https://me:hush@host/?write_token=hush"
    assert "hush" not in reader.track(job, "fake").where
    job.log.write(Metric(name="heldout_loss", value=0.5, step=4))
    fake.fail, fake.said = "heldout_loss", f"{fake.where} can't be reached"
    assert main.run(["jobs", "track", "last", "--to", "fake", "--workspace", str(job.workspace.path)]) == 1
    assert beside.main(str(job.path), "fake") == 1
    told = capsys.readouterr().err
    assert told.count("can't be reached") > 1 and "hush" not in told
    assert "can't be reached" in (noted := (job.path / "events.jsonl").read_text()) and "hush" not in noted


def test_a_loss_that_is_no_number_and_answers_without_end_are_kept_from_the_charts(job: Job, fake: Fake) -> None:
    job.log.write(Step(stage="evaluate", step=1, total=1, values={"loss": 1.0, "margin": 1.5}))
    lines = job.path / "events.jsonl"
    lines.write_text(lines.read_text().replace('"margin":1.5', '"margin":NaN'))
    for at in range(150):
        job.log.write(SampleMade(row=f"r{at}", answer="x", passed=None))
    reader.track(job, "fake")
    assert not any(value != value for _, value, _ in fake.numbers)
    assert len([name for name, _ in fake.texts if name == "answers"]) == 100


def test_a_job_is_followed_to_its_end(workspace: Workspace, fake: Fake) -> None:
    job = jobs.create(workspace, "counting", CountConfig(steps=5, seconds=0.02))
    launch.start(job)
    reader.track(job, "fake", follow=True)
    assert [step for name, _, step in fake.numbers if name == "count/loss"] == [1, 2, 3, 4, 5]
    assert ("result/counted", 5, 0) in fake.numbers
    assert fake.closed == ["done"]


def test_two_readers_never_send_the_same_events(job: Job, fake: Fake) -> None:
    with reader._alone(job, "fake", wait=False), pytest.raises(JobError, match="by another process"):
        reader.track(job, "fake")


def test_what_could_not_be_sent_is_sent_by_the_next_reading(job: Job, fake: Fake) -> None:
    fake.fail = "heldout_loss"
    with pytest.raises(OSError, match="network"):
        reader.track(job, "fake")
    assert fake.closed == ["running"]
    fake.fail = ""
    reader.track(job, "fake")
    assert ("heldout_loss", 0.5, 3) in fake.numbers
    assert [step for name, _, step in fake.numbers if name == "sft/train/loss"] == [1, 2, 3]


def test_an_end_that_could_not_be_sent_is_sent_by_the_next_reading(job: Job, fake: Fake) -> None:
    end(job)
    fake.fail = "result/loss"
    with pytest.raises(OSError, match="network"):
        reader.track(job, "fake")
    fake.fail = ""
    reader.track(job, "fake")
    assert [name for name, _, _ in fake.numbers].count("result/loss") == 1


def test_a_measurement_that_a_resumed_job_repeats_is_sent_once(job: Job, fake: Fake) -> None:
    job.log.write(Metric(name="heldout_loss", value=0.5, step=3))
    job.log.write(Metric(name="heldout_loss", value=0.4, step=4))
    reader.track(job, "fake")
    assert [step for name, _, step in fake.numbers if name == "heldout_loss"] == [3, 4]


def test_a_training_that_begins_anew_is_sent_behind_the_one_before(job: Job, fake: Fake) -> None:
    reader.track(job, "fake")
    fake.numbers = []
    job.log.write(Note(text="the training begins anew", anew=True))
    job.log.write(Metric(name="heldout_loss", value=0.7, step=0))
    job.log.write(Step(stage="sft: train", step=1, total=2, values={"loss": 2.0}))
    reader.track(job, "fake")
    assert fake.numbers == [("heldout_loss", 0.7, 0), ("sft/train/loss", 2.0, 1)]


def test_a_tracker_that_fails_is_said_and_the_job_goes_on(
    job: Job, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "nice", lambda _: 0)
    fake.fail = "sft/train/loss"
    assert beside.main(str(job.path), "fake") == 1
    said = [event.text for event in job.events() if isinstance(event, Note)][-1]
    assert said.startswith("tracking to fake failed, the job goes on: OSError: the network is gone")
    assert f"honed jobs track {job.id} --to fake" in said
    assert job.status().state == "queued"


def test_a_job_with_a_broken_tracker_beside_it_ends_well(workspace: Workspace) -> None:
    job = jobs.create(workspace, "counting", CountConfig(steps=30, seconds=0.02))
    launch.start(job)
    launch.track(job, "zebra")
    assert launch.wait(job)["counted"] == 30
    notes = _until_noted(job, "zebra")
    assert "there is no tracker named 'zebra'" in notes


def test_a_resumed_job_is_tracked_again(workspace: Workspace) -> None:
    job = jobs.create(workspace, "counting", CountConfig(steps=400, seconds=0.02))
    launch.start(job)
    reader.keep(job, "zebra", reader.Progress(beside=True))
    os.kill(job.status().pid, signal.SIGTERM)
    for _ in launch.follow(job):
        pass
    assert job.status().state == "stopped" and "zebra" not in str(job.events())
    launch.resume(job)
    assert "zebra" in _until_noted(job, "zebra")
    launch.stop(job)


def _until_noted(job: Job, word: str) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if text := " ".join(event.text for event in job.events() if isinstance(event, Note) and word in event.text):
            return text
        time.sleep(0.05)
    pytest.fail((job.path / reader.FOLDER / f"{word}.txt").read_text())


def test_a_tracker_whose_package_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Backend("no_such_package", Fake().begin, Fake().home)
    monkeypatch.setattr("honed.registry.get", lambda *_: missing)
    with pytest.raises(ConfigError, match="the tracker wandb needs the Python package no_such_package") as raised:
        trackers.find("wandb")
    assert raised.value.hint == "pip install 'honed[wandb]'"


def test_an_unknown_tracker_is_refused_before_anything_is_started(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["train", "--base", "x", "--data", "y", "--track", "tensorbord", "--workspace", str(workspace.path)]
    assert main.run(args) == 1
    assert "there is no tracker named 'tensorbord'" in capsys.readouterr().err
    assert jobs.listing(workspace) == []


def test_every_tracker_of_the_command_line_is_declared() -> None:
    names = {point.name for point in entry_points(group="honed.trackers")}
    assert names >= {"tensorboard", "wandb", "mlflow", "trackio"}


def test_the_command_sends_and_says_where(job: Job, fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    end(job)
    where = ["--workspace", str(job.workspace.path)]
    assert main.run(["jobs", "track", "last", "--to", "fake", "--json", *where]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"id": job.id, "tracker": "fake", "where": "memory", "events": 8, "anew": False}
    assert main.run(["jobs", "track", "last", "--to", "fake", *where]) == 0
    assert capsys.readouterr().out == f"0 events of job {job.id} are in fake: memory\n"


def test_a_server_that_can_not_be_reached_is_told_in_words(
    job: Job, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.fail = "sft/train/loss"
    assert main.run(["jobs", "track", "last", "--to", "fake", "--workspace", str(job.workspace.path)]) == 1
    told = capsys.readouterr().err
    assert f"sending job {job.id} to fake failed: OSError: the network is gone" in told and "fault" not in told


def test_a_tracker_leaves_a_damaged_folder_to_the_job(job: Job, fake: Fake, tmp_path: Path) -> None:
    (job.path / "events.jsonl").unlink()
    assert reader.track(job, "fake").events == 0
