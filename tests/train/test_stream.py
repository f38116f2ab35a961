"""Streaming as a user meets it: killed and resumed to the bit, nothing dropped in silence, faults in words."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from honed.errors import ConfigError, DataError
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.events import Note, Step
from honed.jobs.job import Job
from honed.records import Conversation, Message, Split
from honed.store import artifacts, datasets
from honed.store.workspace import Workspace
from honed.train import checkpoint
from honed.train.loop import NOT_FINITE
from honed.train.rows import Limit, Reading, Rows
from honed.train.source import Stream, find
from tests.numerics.rows import chat
from tests.train.jobs import finish, losses, settings, start, weights_of

STREAM = {"data": "many", "stream": True, "stream_rows": 256, "batch_tokens": 2000, "pack_tokens": 500, "epochs": 2}


def _turns(number: int, answer: str, weight: float = 1.0) -> Conversation:
    turns = (
        Message(role="user", content=f"what is {number}?"),
        Message(role="assistant", content=answer, weight=weight),
    )
    return Conversation(messages=turns)


@pytest.fixture(scope="module")
def many(home: Workspace) -> Workspace:
    """533 rows in 3 shards, 67 held out, 5 too long, 5 without a supervised token; and 300 of which none is usable."""

    def made() -> Iterator[tuple[Conversation, Split]]:
        for number in range(600):
            kind = number % 100
            answer = "x" * 600 if kind == 7 else "even" if number % 2 == 0 else "odd" * (1 + number % 3)
            yield _turns(number, answer, 0.0 if kind == 50 else 1.0), "heldout" if number % 9 == 0 else "train"

    datasets.write(home, "many", made(), config={}, facts={})
    masked = ((_turns(number, "no", 0.0), "train") for number in range(300))
    datasets.write(home, "masked", masked, config={}, facts={})
    return home


def _followed(job: Job) -> Job:
    for _ in launch.follow(job):
        pass
    return job


def _notes(job: Job) -> list[str]:
    return [event.text for event in job.events() if isinstance(event, Note)]


def test_kill_9_in_epoch_2_of_a_shuffled_stream_then_resume_gives_the_weights_of_an_uninterrupted_run(
    many: Workspace,
) -> None:
    how: dict[str, Any] = {**STREAM, "weights": "lora", "lora": {"dropout": 0.1}}
    how["seed"] = 1  # whose two epochs read the shards in other orders
    straight = start(many, name="stream-straight", **how)
    result = finish(straight)
    killed = start(many, name="stream-killed", **how)
    for event in launch.follow(killed):
        if isinstance(event, Step) and event.stage == "train" and event.step > 0.7 * result["steps"]:
            os.kill(killed.status().pid, signal.SIGKILL)
            break
    _followed(killed)
    assert killed.status().state == "interrupted"
    saved = checkpoint.found(killed.path / "checkpoints")[-1]
    place = checkpoint.position(saved)
    assert place["epoch"] == 1 and set(place["left_out"]) == {"too long", "unsupervised"}
    launch.resume(killed)
    resumed = finish(killed)
    assert killed.status().attempt == 2 and losses(killed) == losses(straight)
    assert any(note.startswith("resumed after step") for note in _notes(killed))
    assert resumed["model_hash"] == result["model_hash"]
    one, other = (weights_of(many, job.result()["model"]) for job in (straight, killed))
    assert one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)
    same = ("rows", "left_out", "dataset_tokens", "supervised_tokens", "computed_tokens", "steps", "loss")
    assert {key: resumed[key] for key in same} == {key: result[key] for key in same}
    texts = [(job.path / "left_out.jsonl").read_text() for job in (straight, killed)]
    assert texts[0] == texts[1] and result["left_out"] == 10 and result["rows"] == 523
    assert len({json.loads(line)["row"] for line in texts[0].splitlines()}) == 10
    for notes in map(_notes, (straight, killed)):
        assert any("533 rows are streamed: about" in note and "as they are met" in note for note in notes)
        assert any("10 rows are left out (5 too long, 5 unsupervised)" in note for note in notes)


def test_a_stream_trains_on_the_same_rows_and_tokens_as_memory_and_result_says_which_it_was(many: Workspace) -> None:
    streamed, held = (
        finish(start(many, name=f"stream-{stream}".lower(), **{**STREAM, "weights": "full"} | how))
        for stream, how in ((True, {}), (False, {"stream": False, "stream_rows": None}))
    )
    same = ("rows", "left_out", "dataset_tokens", "supervised_tokens")
    assert {key: streamed[key] for key in same} == {key: held[key] for key in same}
    assert (streamed["ran"]["stream"], streamed["ran"]["stream_rows"]) == (True, 256)
    assert held["ran"]["stream"] is False and "stream_rows" not in held["ran"]
    assert streamed["steps"] == pytest.approx(held["steps"], rel=0.1)
    assert streamed["loss"] == pytest.approx(held["loss"], rel=0.2)
    assert streamed["diverged"] is None and held["diverged"] is None


@pytest.mark.parametrize("stream", [True, False])
def test_a_dataset_whose_labels_are_all_masked_fails_before_training_and_names_its_rows(
    many: Workspace, stream: bool
) -> None:
    config = settings(many, data="masked", stream=stream)
    job = jobs.create(many, "train", config)
    reading = Reading(job, lambda: False)
    with pytest.raises(DataError) as caught:
        find(config, artifacts.resolve(many, "datasets", "masked"), chat(), Limit(512), reading, memory=10**9)
    first = _turns(0, "no").id
    why = f"none of its 300 training rows can be used; row {first}: no assistant token carries a loss"
    assert why in caught.value.message and "left_out.jsonl" in caught.value.hint
    assert caught.value.hint.startswith("Give a turn a weight above 0. See ")
    listed = [json.loads(line)["row"] for line in (job.path / "left_out.jsonl").read_text().splitlines()]
    assert listed == [_turns(number, "no").id for number in range(300)]


def test_a_loss_in_a_stream_that_is_not_a_number_names_its_rows_and_leaves_the_weights_that_gave_one(
    many: Workspace,
) -> None:
    job = start(many, name="stream-nan", eval_rows=0, checkpoint_every=1, **{**STREAM, "weights": "full"})
    for event in launch.follow(job):
        if isinstance(event, Step) and event.stage == "train" and event.step >= 2:
            break
    launch.stop(job)
    good = checkpoint.found(job.path / "checkpoints")[-1]
    path = job.path / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "learning_rate": 1e30}))
    launch.resume(job)
    status = _followed(job).status()
    assert status.state == "failed" and "is not a number; its rows:" in status.message
    assert "lower learning_rate" in status.hint
    named = status.message.partition("its rows: ")[2].split(" and ")[0].split(", ")
    known = {row.id for row in datasets.rows(artifacts.resolve(many, "datasets", "many"), "train")}
    assert len(named) == 8 and set(named) <= known
    listed = (job.path / NOT_FINITE).read_text().split()
    assert listed[:8] == named and set(listed) <= known
    done = checkpoint.facts(good)["step"]
    assert f"step {done + 2} " in status.message  # the first with weights that the first step at this rate left
    assert checkpoint.found(job.path / "checkpoints") == [good]
    assert any(f"checkpoint of step {done + 1} is dropped" in note for note in _notes(job))


def test_a_learning_rate_that_diverges_is_said_in_the_events_and_in_the_result(many: Workspace) -> None:
    job = start(many, name="stream-diverged", **{**STREAM, "weights": "full", "learning_rate": 3.0, "epochs": 1})
    result = finish(job)
    assert result["diverged"]["step"] < result["steps"]
    (note,) = [note for note in _notes(job) if note.startswith("diverged")]
    assert result["diverged"]["why"] in note and "lower learning_rate (now 3)" in note
    assert any(note.startswith("the held-out loss rose from") for note in _notes(job))


def test_rows_are_streamed_where_they_would_fill_the_memory_and_the_reason_is_said(many: Workspace) -> None:
    reading = Reading(jobs.create(many, "train", settings(many)), lambda: False)
    dataset = artifacts.resolve(many, "datasets", "many")
    config = settings(many, data="many")
    held, why = find(config, dataset, chat(), Limit(512), reading, memory=10_000_000)
    assert isinstance(held, Rows) and why == ""
    streamed, why = find(config, dataset, chat(), Limit(512), reading, memory=600_000)
    assert isinstance(streamed, Stream) and "stream true: 533 rows would take about" in why
    assert streamed.rows == 533
    assert streamed.tokens == pytest.approx(sum(held.lengths), rel=0.01)  # the sample has all 533 rows
    assert streamed.window_rows(None, 100) == pytest.approx(8192, rel=0.01)
    assert streamed.window_rows(None, 1_000_000) * streamed.tokens / 533 == pytest.approx(16_000_000, rel=0.01)


def test_preferences_that_need_the_base_models_numbers_are_not_streamed_and_the_error_says_why_and_what_to_do(
    many: Workspace,
) -> None:
    with pytest.raises(ConfigError, match="dpo can't be streamed: the base model's likelihoods of all") as caught:
        settings(many, data="liked", objective="dpo", stream=True)
    assert "stream to false" in caught.value.message and "orpo or simpo" in caught.value.message


@pytest.mark.parametrize(
    ("data", "objective", "what"),
    [("liked", "dpo", "40 preferences would"), ("rated", "kto", "40 ratings and preferences would")],
)
def test_what_must_be_loaded_although_it_fills_the_memory_is_loaded_and_that_is_said(
    many: Workspace, data: str, objective: str, what: str
) -> None:
    config = settings(many, data=data, objective=objective, stream="auto")
    dataset = artifacts.resolve(many, "datasets", data)
    reading = Reading(jobs.create(many, "train", config), lambda: False)
    held, why = find(config, dataset, chat(), Limit(512), reading, memory=10_000)
    assert isinstance(held, Rows) and why.startswith("stream false, and all is loaded: ") and what in why
    assert find(config, dataset, chat(), Limit(512), reading, memory=10**9)[1] == ""


def test_preferences_without_a_reference_are_streamed_where_they_would_fill_the_memory(many: Workspace) -> None:
    config = settings(many, data="liked", objective="orpo", stream="auto")
    dataset = artifacts.resolve(many, "datasets", "liked")
    reading = Reading(jobs.create(many, "train", config), lambda: False)
    held, _ = find(config, dataset, chat(), Limit(512), reading, memory=10**9)
    streamed, why = find(config, dataset, chat(), Limit(512), reading, memory=10_000)
    assert isinstance(held, Rows) and isinstance(streamed, Stream)
    assert "stream true: 40 preferences would take about" in why
    assert streamed.sample.unit == "pairs" and streamed.rows == 40
    read = streamed.read(streamed.shards)
    assert (read.encoded, read.names) == (held.encoded, held.names)


@pytest.mark.parametrize("objective", ["orpo", "simpo"])
def test_streamed_preferences_are_trained_on_as_those_in_memory(many: Workspace, objective: str) -> None:
    streamed, held = (
        finish(start(many, name=f"{objective}-{stream}".lower(), data="liked-in-part", objective=objective,
                     stream=stream, epochs=2))
        for stream in (True, False)
    )  # fmt: skip
    same = ("rows", "left_out", "dataset_tokens", "supervised_tokens")
    assert {key: streamed[key] for key in same} == {key: held[key] for key in same}
    assert streamed["left_out"] == 2 and streamed["ran"]["stream"] is True and held["ran"]["stream"] is False
    assert streamed["margin"] == pytest.approx(held["margin"], rel=0.2)
