"""The training process as a user meets it: kill -9 and resume, equal seeds, bad rows, a full disk, what really ran."""

from __future__ import annotations

import errno
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from honed.config import build
from honed.errors import HonedError, StoreError
from honed.jobs import launch
from honed.jobs.events import Step
from honed.jobs.job import Job
from honed.models.load import load
from honed.records import Conversation, Message, Split
from honed.store import datasets, workspace
from honed.store.workspace import Workspace
from honed.train import checkpoint
from honed.train.config import TrainConfig
from honed.train.optim import Optimizer
from honed.train.run import run
from tests.numerics.rows import packed_model
from tests.tiny import tiny_folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    path = tmp_path_factory.mktemp("train")
    tiny_folder(path / "tiny")
    made = workspace.init(path / "ws")
    rng = random.Random(0)
    rows: list[tuple[Conversation, Split]] = []
    for number in range(60):
        answer = f"{number} is {'even' if number % 2 == 0 else 'odd'}" * rng.choice([1, 1, 3])
        turns = (Message(role="user", content=f"what is {number}?"), Message(role="assistant", content=answer))
        rows.append((Conversation(messages=turns), "heldout" if number % 6 == 0 else "train"))
    datasets.write(made, "numbers", rows, config={}, facts={})
    long = (Message(role="user", content="x" * 600), Message(role="assistant", content="y"))
    datasets.write(made, "long", [(Conversation(messages=long), "train")], config={}, facts={})
    datasets.write(made, "mixed", [*rows[:5], (Conversation(messages=long), "train")], config={}, facts={})
    return made


def start(home: Workspace, **values: Any) -> Job:
    settings = {
        "base": str(home.path.parent / "tiny"), "data": "numbers", "batch_tokens": 100, "pack_tokens": 60, "epochs": 3,
        "learning_rate": 1e-3, "precision": "fp32", "weights": "full", "checkpoint_every": 7, "eval_rows": 4, **values,
    }  # fmt: skip
    return run(home, build(TrainConfig, settings, "test"))


def finish(job: Job) -> dict[str, Any]:
    for _ in launch.follow(job):
        pass
    assert job.status().state == "done", (job.path / "log.txt").read_text()
    return job.result()


def weights_of(home: Workspace, ref: str) -> dict[str, Any]:
    name, _, version = ref.partition("@")
    return load_file(home.models / name / version / "model.safetensors")


def losses(job: Job) -> dict[int, float]:
    return {event.step: event.values["loss"] for event in job.events() if isinstance(event, Step)}


@pytest.mark.parametrize("how", [{"weights": "full"}, {"weights": "lora", "lora_dropout": 0.1}])
def test_kill_9_in_epoch_2_then_resume_gives_the_weights_of_an_uninterrupted_run(
    home: Workspace, how: dict[str, Any]
) -> None:
    kind = how["weights"]
    straight = start(home, name=f"straight-{kind}", **how)
    killed = start(home, name=f"killed-{kind}", **how)
    steps = finish(straight)["steps"]
    for event in launch.follow(killed):
        if isinstance(event, Step) and event.step > steps // 2:
            os.kill(killed.status().pid, signal.SIGKILL)
            break
    for _ in launch.follow(killed):
        pass
    assert killed.status().state == "interrupted"
    launch.resume(killed)
    resumed = finish(killed)
    assert killed.status().attempt == 2
    assert losses(killed) == losses(straight)
    assert resumed["model_hash"] == straight.result()["model_hash"]
    one, other = (weights_of(home, job.result()["model"]) for job in (straight, killed))
    assert one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


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


def test_two_processes_with_one_seed_make_the_same_weights_and_result_names_what_ran(home: Workspace) -> None:
    jobs = [start(home, name=name, weights="lora", lora_dropout=0.1, epochs=1) for name in ("one", "two")]
    one, two = (finish(job) for job in jobs)
    assert one["model_hash"] == two["model_hash"]
    assert one["steps"] >= 10
    ran = one["ran"]
    assert (ran["weights"], ran["precision"], ran["device"], ran["packing"]) == ("lora", "fp32", "cpu", True)
    assert ran["head"].endswith("fused") and ran["adapters"] == 14
    assert one["supervised_tokens"] < one["dataset_tokens"]
    loaded = load(one["model"], home)
    assert loaded.chat.hash == one["template_hash"]
    assert loaded.hash == one["model_hash"]


def test_a_row_longer_than_the_context_is_left_out_counted_and_listed(home: Workspace) -> None:
    job = start(home, name="mixed", data="mixed", epochs=1)
    result = finish(job)
    assert result["left_out"] == 1
    assert "too long" in (job.path / "left_out.jsonl").read_text()
    assert any("1 rows are left out" in getattr(event, "text", "") for event in job.events())


def test_a_dataset_without_a_usable_row_fails_in_words(home: Workspace) -> None:
    job = start(home, name="long", data="long")
    for _ in launch.follow(job):
        pass
    status = job.status()
    assert status.state == "failed"
    assert "none of its 1 training rows can be used" in status.message and "512 fit" in status.message
    assert "Traceback" in (job.path / "log.txt").read_text()


def test_an_unknown_dataset_is_refused_before_a_job_is_made(home: Workspace) -> None:
    before = len(list(home.jobs.iterdir()))
    with pytest.raises(StoreError, match="numbrs"):
        start(home, data="numbrs")
    assert len(list(home.jobs.iterdir())) == before


def test_a_loss_that_is_not_a_number_names_its_rows(home: Workspace) -> None:
    job = start(home, name="diverged", learning_rate=1e30, epochs=20)
    for _ in launch.follow(job):
        pass
    status = job.status()
    assert status.state == "failed" and "is not a number; its rows:" in status.message
    assert "lower learning_rate" in status.hint


def test_a_full_disk_while_saving_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = packed_model()
    optimizer = Optimizer(list(model.named_parameters()), weight_decay=0.0)
    for parameter in model.parameters():
        parameter.grad = parameter.detach() * 0 + 1
    optimizer.step(1e-3, 1.0)
    checkpoint.save(tmp_path, 1, optimizer, keep=1)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(HonedError, match="no space left"):
        checkpoint.save(tmp_path, 2, optimizer, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert checkpoint.load(tmp_path / "step-00000001", optimizer) == 1
