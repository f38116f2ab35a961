"""Stopping, killing and resuming: the weights in the end are those of an uninterrupted run, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from datetime import UTC, datetime
from typing import Any

import pytest
import torch

from honed.errors import HonedError, JobError
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.events import Metric, Note, Step, since_anew
from honed.jobs.job import Job
from honed.records import Conversation, Message
from honed.store import aliases, datasets
from honed.store.workspace import Workspace
from honed.train import checkpoint
from honed.train.attempts import CHOSEN, read
from honed.train.attention import PARTS
from honed.train.kernels import choice
from honed.train.loop import between
from honed.train.optim import Optimizer
from honed.train.prepare import prepare
from honed.train.ranks import ALONE
from honed.train.setup import set_up
from tests.train.jobs import finish, losses, settings, start, weights_of


def notes(job: Job) -> list[str]:
    return [event.text for event in job.events() if isinstance(event, Note)]


DPO = {"objective": "dpo", "data": "liked"}
KTO = {"objective": "kto", "data": "rated"}


@pytest.mark.parametrize(
    "how",
    [
        {"weights": "full"},
        {"weights": "lora", "lora": {"dropout": 0.1, "dora": True}},
        {**DPO, "weights": "full"},
        {**KTO, "weights": "lora", "lora": {"dropout": 0.1}},
    ],
    ids=["sft-full", "sft-lora", "dpo-full", "kto-lora"],
)
def test_kill_9_in_epoch_2_then_resume_gives_the_weights_of_an_uninterrupted_run(
    home: Workspace, how: dict[str, Any]
) -> None:
    kind = "-".join([how.get("objective", "sft"), how["weights"]])
    straight = start(home, name=f"straight-{kind}", **how)
    steps = finish(straight)["steps"]
    killed = start(home, name=f"killed-{kind}", **how)
    for event in launch.follow(killed):
        if isinstance(event, Step) and event.stage == "train" and event.step > steps // 2:
            os.kill(killed.status().pid, signal.SIGKILL)
            break
    for _ in launch.follow(killed):
        pass
    assert killed.status().state == "interrupted"
    launch.resume(killed)
    resumed = finish(killed)
    assert killed.status().attempt == 2
    deadline = time.monotonic() + 20
    while (killed.path / "checkpoints").exists():  # they go with the end of a job that is done
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert any(isinstance(event, Note) and event.text.startswith("resumed after step") for event in killed.events())
    assert losses(killed) == losses(straight)
    assert resumed["model_hash"] == straight.result()["model_hash"]
    one, other = (weights_of(home, job.result()["model"]) for job in (straight, killed))
    assert one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)
    read = [event for event in killed.events() if isinstance(event, Note) and "are read from" in event.text]
    assert bool(read) == ("objective" in how)  # the second attempt computes no reference anew


def test_a_resume_with_other_settings_is_refused_by_name_and_goes_on_once_they_are_put_back(home: Workspace) -> None:
    job = start(home, name="edited", epochs=16, checkpoint_every=1000)
    for event in launch.follow(job):
        if isinstance(event, Step):
            launch.stop(job)
            break
    path = job.path / "config.yaml"
    asked = path.read_text()
    path.write_text(asked.replace("batch_tokens: 100", "batch_tokens: 50").replace("seed: 0", "seed: 1"))
    launch.resume(job)
    with pytest.raises(JobError, match=r"other settings: batch_tokens \(100 at first, 50 now\), seed \(0") as caught:
        launch.wait(job)
    assert caught.value.hint.endswith(f"train anew with them: honed train {path}")
    path.write_text(asked.replace("learning_rate: 0.001", "learning_rate: 0.0001"))
    launch.resume(job)
    assert finish(job)["ran"]["learning_rate"] == 0.0001
    steps = [event.step for event in job.events() if isinstance(event, Step) and event.stage == "train"]
    assert len(steps) == len(set(steps)) == steps[-1]


def test_settings_may_be_mended_as_long_as_nothing_was_trained(home: Workspace) -> None:
    job = jobs.create(home, "train", settings(home, name="mended"))
    prepare(job)
    path = job.path / "config.yaml"
    path.write_text(path.read_text().replace("batch_tokens: 100", "batch_tokens: 50"))
    assert prepare(job).settings.batch_tokens == 50
    (job.path / "checkpoints" / "step-00000001").mkdir(parents=True)
    path.write_text(path.read_text().replace("batch_tokens: 50", "batch_tokens: 100"))
    with pytest.raises(JobError, match=r"batch_tokens \(50 at first, 100 now\)"):
        prepare(job)
    assert notes(job).count("the training begins anew, with other settings: batch_tokens (100 at first, 50 now)") == 1


def test_a_training_that_begins_anew_has_nothing_of_the_one_before_and_says_so(home: Workspace) -> None:
    """That one died before its first checkpoint, with a held-out loss as low as can be, of weights of another shape."""
    job = jobs.create(home, "train", settings(home, name="anew", epochs=1, keep_best=True, eval_every=5))
    prepare(job)
    weights = Optimizer([("w", torch.nn.Parameter(torch.ones(2)))], weight_decay=0.0)
    checkpoint.save_best(job.path / "checkpoints", 10, weights, 0.0)
    for step in range(1, 51):
        job.log.write(Step(stage="train", step=step, total=50, values={"loss": 100.0, "computed_tokens": 1e6}))
    job.log.write(Metric(name="heldout_loss", value=0.0, step=10))
    path = job.path / "config.yaml"
    path.write_text(path.read_text().replace("batch_tokens: 100", "batch_tokens: 200"))
    job.set_status(job.status().model_copy(update={"attempt": 1}))
    launch.start(job)
    result = finish(job)
    made = since_anew(job.events())
    steps = {event.step: event.values for event in made if isinstance(event, Step) and event.stage == "train"}
    measured = {event.step: event.value for event in made if isinstance(event, Metric)}
    assert len(steps) == result["steps"] < 20 and result["loss"] == steps[len(steps)]["loss"]
    assert result["computed_tokens"] == sum(values["computed_tokens"] for values in steps.values())
    assert result["heldout_loss"] == min(measured.values()) == measured[result["published_step"]]
    said = notes(job)
    assert "the training begins anew, with other settings: batch_tokens (100 at first, 200 now)" in said
    assert set(result["reasons"]) <= set(said) and not any("after step 10" in note for note in said)


def test_a_lower_rate_before_the_first_checkpoint_begins_anew_with_all_else_that_was_chosen(home: Workspace) -> None:
    job = jobs.create(home, "train", settings(home, name="lower", weights="auto", learning_rate=None))
    prepare(job)
    path = job.path / CHOSEN
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "weights": "lora", "reasons": ["learning_rate 1", "x"]})
    )
    asked = job.path / "config.yaml"
    asked.write_text(asked.read_text().replace("learning_rate: null", "learning_rate: 1.0e-05"))
    for _ in range(2):
        found = prepare(job).settings
        assert (found.learning_rate, found.weights, found.reasons) == (1e-5, "lora", ("x",))
    (said,) = [event for event in job.events() if isinstance(event, Note) and event.anew]
    assert said.text.endswith("with other settings: learning_rate (None at first, 1e-05 now)")


def test_every_rank_reads_the_device_that_rank_0_will_choose_anew(home: Workspace) -> None:
    job = jobs.create(home, "train", settings(home, name="device", device="cpu"))
    prepare(job)
    path = job.path / "config.yaml"
    path.write_text(path.read_text().replace("device: cpu", "device: cuda"))
    assert read(job).device == "cuda"
    (job.path / "checkpoints" / "step-00000001").mkdir(parents=True)
    assert read(job).device == "cpu"


@pytest.mark.parametrize(
    ("name", "why"),
    [("My Model", "can't be a name"), ("null", "has no name for its model now"), ("live", "an alias of this")],
)
def test_a_name_that_no_model_can_have_is_refused_before_a_resume_trains(
    home: Workspace, monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    monkeypatch.setattr(aliases, "target", lambda _, name: "m@v1" if name == "live" else None)
    job = jobs.create(home, "train", settings(home, name="named"))
    prepare(job)
    path = job.path / "config.yaml"
    asked = path.read_text()
    path.write_text(asked.replace("name: named", f"name: {name}"))
    with pytest.raises(HonedError, match=why):
        prepare(job)
    path.write_text(asked.replace("name: named", "name: named-otherwise"))
    assert prepare(job).config.name == "named-otherwise"


def test_held_out_losses_of_one_run_are_of_the_same_rows(home: Workspace) -> None:
    job = jobs.create(home, "train", settings(home, name="measured", keep_best=True))
    prepare(job)
    (job.path / "checkpoints" / "step-00000001").mkdir(parents=True)
    path = job.path / "config.yaml"
    path.write_text(path.read_text().replace("eval_rows: 4", "eval_rows: 5"))
    with pytest.raises(JobError, match=r"other settings: eval_rows \(4 at first, 5 now\)"):
        prepare(job)


def test_a_resume_sees_the_day_on_which_the_first_attempt_began(home: Workspace) -> None:
    job = jobs.create(home, "train", settings(home, name="day"))
    first = prepare(job).base.chat.clock
    path = job.path / CHOSEN
    told = json.loads(path.read_text())
    assert first and told["clock"] == first.isoformat()
    path.write_text(json.dumps({**told, "clock": "2024-07-26T23:59:00+00:00"}))
    assert prepare(job).base.chat.clock == datetime(2024, 7, 26, 23, 59, tzinfo=UTC)


def test_a_resume_that_rounds_otherwise_than_the_first_attempt_says_so(home: Workspace) -> None:
    job = jobs.create(home, "train", settings(home, name="threads"))
    prepare(job)
    prepare(job)
    said = [event.text for event in job.events() if isinstance(event, Note) and "the first attempt had" in event.text]
    assert said == []
    threads = torch.get_num_threads()
    path = job.path / CHOSEN
    path.write_text(json.dumps({**json.loads(path.read_text()), "threads": threads + 1}))
    prepare(job)
    (said,) = [
        event.text for event in job.events() if isinstance(event, Note) and "the first attempt had" in event.text
    ]
    assert said.startswith(f"the first attempt had threads {threads + 1}, now {threads}: ") and "not to the bit" in said


def test_checkpoints_that_take_long_are_written_less_often() -> None:
    assert between(0.0) == between(10.0) == 300.0
    assert between(60.0) == pytest.approx(1200.0)


def test_stop_saves_a_checkpoint_that_resume_continues(home: Workspace) -> None:
    job = start(home, name="halted", epochs=40, checkpoint_every=1000)
    for event in launch.follow(job):
        if isinstance(event, Step):
            launch.stop(job)
            break
    assert job.status().state == "stopped"
    (saved,) = checkpoint.found(job.path / "checkpoints")
    launch.resume(job)
    for event in launch.follow(job):
        if isinstance(event, Step) and event.step > int(saved.name.partition("-")[2]):
            break
    launch.stop(job)
    assert any("resumed after step" in getattr(event, "text", "") for event in job.events())


def test_a_resume_keeps_what_the_first_attempt_chose_by_measuring_the_machine(home: Workspace) -> None:
    job = jobs.create(home, "train", settings(home, name="kept", weights="auto", precision="auto"))
    (job.path / CHOSEN).write_text('{"device": "cpu", "precision": "bf16", "weights": "lora"}')
    found = prepare(job)
    assert (found.settings.weights, found.settings.precision) == ("lora", "bf16")
    assert found.base.model.dtype == torch.bfloat16


def test_a_resume_keeps_the_attention_path_of_the_first_attempt_or_says_that_it_is_not_to_be_had(
    home: Workspace,
) -> None:
    job = jobs.create(home, "train", settings(home, name="path", weights="auto"))
    first = set_up(prepare(job), ALONE, lambda: False)
    chosen = json.loads((job.path / CHOSEN).read_text())
    assert chosen["attention"] == first.layout.attention != PARTS
    (job.path / CHOSEN).write_text(json.dumps({**chosen, "attention": PARTS}))
    again = set_up(prepare(job), ALONE, lambda: False)
    assert again.layout.attention == again.placed.model.config._attn_implementation == PARTS
    assert again.reasons[-1] == "attention by parts, as in the first attempt"
    (job.path / CHOSEN).write_text(json.dumps({**chosen, "attention": "honed_elsewhere"}))
    other = set_up(prepare(job), ALONE, lambda: False)
    assert other.layout.attention == first.layout.attention
    (said,) = [note for note in notes(job) if "that of the first attempt, elsewhere, isn't to be had here" in note]
    assert "not to the bit" in said
    assert json.loads((job.path / CHOSEN).read_text())["attention"] == "honed_elsewhere"  # where it is, it is taken


def test_kernels_are_compiled_on_a_cpu_unless_that_is_turned_off_and_a_resume_stays_with_it(home: Workspace) -> None:
    there = choice.choose(torch.float32, "cpu")[0]
    for wish in (None, True, False):
        job = jobs.create(home, "train", settings(home, name="rows", weights="auto", compile=wish))
        for _ in range(2):
            made = set_up(prepare(job), ALONE, lambda: False)
            by = "native" if there and wish is not False else "torch"
            assert made.kernels.describe()["elementwise"] == by
            assert made.layout.head.compiled is (by == "native")
            assert not any("as in the first attempt" in reason for reason in made.reasons)


def test_a_resume_computes_norms_in_c_or_by_torch_as_the_first_attempt_did_or_says_that_it_cannot(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "choose", lambda *_: (False, ""))
    job = jobs.create(home, "train", settings(home, name="rows", weights="auto"))
    by_torch = set_up(prepare(job), ALONE, lambda: False)
    chosen = json.loads((job.path / CHOSEN).read_text())
    assert chosen["elementwise"] == by_torch.kernels.describe()["elementwise"] == "torch"
    monkeypatch.setattr(choice, "choose", lambda *_: (True, ""))
    again = set_up(prepare(job), ALONE, lambda: False)
    assert again.kernels.describe()["elementwise"] == "torch"
    assert "norms and SwiGLU by torch, as in the first attempt" in again.reasons
    assert json.loads((job.path / CHOSEN).read_text()) == chosen
    (job.path / CHOSEN).write_text(json.dumps({**chosen, "elementwise": "native"}))
    monkeypatch.setattr(choice, "choose", lambda *_: (False, ""))
    other = set_up(prepare(job), ALONE, lambda: False)
    assert other.kernels.describe()["elementwise"] == "torch"
    (said,) = [note for note in notes(job) if "the kernels of the first attempt aren't to be had here" in note]
    assert "not to the bit" in said


def test_a_run_whose_base_is_another_one_by_now_is_not_resumed_and_a_device_that_was_chosen_stays(
    home: Workspace,
) -> None:
    job = jobs.create(home, "train", settings(home, name="other", device="auto"))
    prepare(job)
    chosen = json.loads((job.path / CHOSEN).read_text())
    assert chosen["device"] == "cpu" and read(job).device == "cpu"  # whatever there is by now
    (job.path / CHOSEN).write_text(json.dumps({**chosen, "base_weights": "0" * 64}))
    with pytest.raises(JobError, match=r"began with weights of hash 000000000000, and .*tiny has those of"):
        prepare(job)


def test_a_run_whose_data_is_other_data_by_now_is_not_resumed(home: Workspace) -> None:
    def written(answer: str) -> None:
        turns = (Message(role="user", content="hi"), Message(role="assistant", content=answer))
        datasets.write(home, "corrected", [(Conversation(messages=turns), "train")], config={}, facts={})

    written("no")
    job = jobs.create(home, "train", settings(home, name="corrected", data="corrected@v1"))
    prepare(job)
    shutil.rmtree(home.datasets / "corrected")
    written("yes")  # as many rows, under the same name and version
    with pytest.raises(JobError, match=r"began with rows of hash \w{12}, and corrected@v1 has those of") as caught:
        prepare(job)
    assert "Put those rows back" in caught.value.hint and f"honed train {job.path / 'config.yaml'}" in caught.value.hint
