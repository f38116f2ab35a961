"""The whole evaluation on a tiny random model: answers, loss, resume, and the ways it can go wrong."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from honed.builtin.load import load
from honed.errors import ConfigError, DataError, StoreError
from honed.evaluate import loss, outcome, run, worker
from honed.evaluate.config import EvaluateConfig
from honed.evaluate.outcome import Answer, Outcome, RowLoss
from honed.jobs import job as jobs
from honed.jobs.events import Note, Step
from honed.jobs.job import Job
from honed.jobs.worker import Stopped
from honed.models import losses
from honed.models.chat import from_tokenizer
from honed.models.load import LoadedModel
from honed.records import Check, Conversation, Message
from honed.segments import Rule, version
from honed.store import artifacts, datasets
from honed.store.workspace import Workspace
from tests.tiny import THINKING, tiny_folder, tiny_model, tiny_tokenizer

ROWS = [row for row in load("heldout") if len(json.dumps(row.model_dump()["messages"])) < 420][:14]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def evaluation(workspace: Workspace, folder: Path) -> Callable[..., Job]:
    """A job on given rows that no worker has run yet."""

    def make(given: list[Conversation] = ROWS, **settings: Any) -> Job:
        made = datasets.write(workspace, "rows", ((row, "heldout") for row in given), config={}, facts={})
        settings = {"max_tokens": 12, "batch_size": 4, "answer_cache": False, **settings}
        return jobs.create(workspace, "evaluate", EvaluateConfig(model=str(folder), data=made.ref, **settings))

    return make


def never() -> bool:
    return False


def after(calls: int) -> Callable[[], bool]:
    """``stopping()`` that turns true after some calls."""
    left: Iterator[int] = iter(range(calls))
    return lambda: next(left, None) is None


def answers(job: Job) -> dict[str, Answer]:
    return outcome.read(Answer, job.path / outcome.SAMPLES)


def notes(job: Job) -> str:
    return "\n".join(event.text for event in job.events() if isinstance(event, Note))


def row(prompt: str, answer: str = "Fine.", verifier: str | None = None) -> Conversation:
    return Conversation(
        messages=(Message(role="user", content=prompt), Message(role="assistant", content=answer)),
        check=Check(verifier=verifier, params={"queue": "billing"}) if verifier else None,
    )


def test_every_row_is_answered_judged_and_measured(evaluation: Callable[..., Job]) -> None:
    rules = (Rule(name="young", where={"audience": ("child",)}),)
    job = evaluation(segments=("task", "segment"), rules=rules)
    found = Outcome.model_validate(worker.work(job, never))
    made = answers(job)
    children = {row.id for row in ROWS if row.tags["audience"] == "child"}
    assert {id_ for id_, answer in made.items() if answer.tags.get("segment") == "young"} == children
    assert found.rules == version(rules)
    assert {**found.groups["segment"].small, "young": len(children)} == {"young": len(children)}
    assert made.keys() == {row.id for row in ROWS}
    assert (found.n, found.rows, found.loss_rows, found.unverified) == (14, 14, 14, 0)
    assert found.passed == sum(bool(answer.passed) for answer in made.values())
    assert found.tokens == sum(answer.tokens for answer in made.values())
    assert found.floors is not None
    by_task = found.groups["task"]
    assert sum(cell.n for cell in by_task.passed.values()) + sum(by_task.small.values()) == 14
    assert found.segments["task"] == by_task.passed
    assert found.guarded is not None and found.guarded.passed <= found.passed
    assert found.loss is not None
    assert found.perplexity == pytest.approx(2.718281828459045**found.loss)
    assert (found.device, found.precision, found.batch_size) == ("cpu", "fp32", 4)
    steps = [event for event in job.events() if isinstance(event, Step) and event.stage == "answers"]
    assert [step.step for step in steps] == list(range(1, 15))
    assert "tokens_per_second" in steps[-1].values


def test_the_job_runs_in_its_own_process_and_after_a_kill_goes_on_to_the_same_samples(
    workspace: Workspace, folder: Path, evaluation: Callable[..., Job]
) -> None:
    whole = evaluation(max_tokens=48)
    worker.work(whole, never)
    data = artifacts.resolve(workspace, "datasets", "rows")
    job = run.run(
        workspace, EvaluateConfig(model=str(folder), data="rows", max_tokens=48, batch_size=4, answer_cache=False)
    )
    samples = job.path / outcome.SAMPLES
    deadline = time.monotonic() + 60
    while not (samples.exists() and samples.read_bytes().count(b"\n") >= 3):
        assert time.monotonic() < deadline, (job.path / "log.txt").read_text()
        time.sleep(0.005)
    os.kill(job.status().pid, signal.SIGKILL)
    while job.status().state == "running":
        time.sleep(0.01)
    before = samples.read_bytes()
    with samples.open("ab") as file:
        file.write(b'{"row": "torn')
    assert job.status().state == "interrupted"
    result = outcome.result(worker.work(job, never))  # what the worker of `honed jobs resume` does
    assert result.data == data.ref
    assert 3 <= result.resumed_answers == before.count(b"\n") < 14
    assert samples.read_bytes().startswith(before)
    assert answers(job) == answers(whole)
    assert result.peak_rss_bytes > 50_000_000


def test_a_stopped_job_keeps_its_answers_and_makes_none_twice(evaluation: Callable[..., Job]) -> None:
    whole, job = evaluation(), evaluation()
    expected = Outcome.model_validate(worker.work(whole, never))
    with pytest.raises(Stopped):
        worker.work(job, after(6))
    kept = (job.path / outcome.SAMPLES).read_bytes()
    with pytest.raises(Stopped):
        worker.work(job, after(12))  # now within the losses
    assert (job.path / outcome.LOSSES).exists()
    found = Outcome.model_validate(worker.work(job, never))
    assert (job.path / outcome.SAMPLES).read_bytes().startswith(kept)
    assert (job.path / outcome.SAMPLES).read_bytes().count(b"\n") == 14
    assert found.resumed_answers == 14
    assert (found.passed, found.tokens) == (expected.passed, expected.tokens)
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)
    assert answers(job) == answers(whole)


def test_batch_size_changes_neither_answers_nor_loss(evaluation: Callable[..., Job]) -> None:
    one, many = evaluation(batch_size=1), evaluation(batch_size=16)
    first, second = (Outcome.model_validate(worker.work(job, never)) for job in (one, many))
    assert answers(one) == answers(many)
    assert first.loss == pytest.approx(second.loss, rel=1e-6)


def test_the_loss_is_that_of_the_model_run_row_by_row() -> None:
    chat = from_tokenizer(tiny_tokenizer())
    loaded = LoadedModel(tiny_model(), chat, "tiny", "0", 512)
    encoded, left_out = loss.encode(ROWS, chat, 512)
    assert left_out == ()
    for batch_size in (1, 3, 14):
        found = {line.row: line for lines in loss.measure(loaded, encoded, batch_size) for line in lines}
        assert found.keys() == encoded.keys()
        for name, one in encoded.items():
            with torch.no_grad():
                logits = loaded.model(input_ids=torch.tensor([one.ids])).logits[0, :-1]
            each = torch.nn.functional.cross_entropy(logits, torch.tensor(one.ids[1:]), reduction="none")
            supervised = torch.tensor(one.weights[1:]) > 0
            assert found[name].nats == pytest.approx(float(each[supervised].sum()), rel=1e-5)
            assert found[name].tokens == one.supervised


def test_the_loss_of_a_row_counts_the_answers_that_are_measured_in_rows_of_their_own() -> None:
    chat = from_tokenizer(tiny_tokenizer(THINKING))
    loaded = LoadedModel(tiny_model(), chat, "tiny", "0", 512)
    talk = Conversation(messages=tuple(turn for n in range(3) for turn in row(f"ask {n}", f"answer {n}").messages))
    encoded, _ = loss.encode([talk, row("Which?", "This.")], chat, 512)
    parts = {f"{number}": replace(one, apart=()) for number, one in enumerate(encoded[talk.id].rows)}
    assert len(parts) == 3
    (whole,) = [sum(one.nats for lines in loss.measure(loaded, parts, 8) for one in lines)]
    for batch_size in (1, 8):
        found = {line.row: line for lines in loss.measure(loaded, encoded, batch_size) for line in lines}
        assert found.keys() == encoded.keys()
        assert found[talk.id].nats == pytest.approx(whole, rel=1e-5)
        assert found[talk.id].tokens == sum(one.supervised for one in parts.values())
    assert loss.size(encoded[talk.id], chat) == sum(len(f"<think></think>answer {n}") for n in range(3))
    longest = max(len(one.ids) for one in parts.values())
    assert loss.encode([talk], chat, longest)[0] and loss.encode([talk], chat, longest - 1)[1][0].kind == "too long"


def test_the_loss_is_one_sum_over_one_sum() -> None:
    lines = [RowLoss(row="a", nats=2.0, tokens=1), RowLoss(row="b", nats=9.0, tokens=9)]
    assert loss.per_token(lines) == pytest.approx(1.1)
    assert loss.per_token([]) is None


def test_memory_bounds_a_batch_as_well_as_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    chat = from_tokenizer(tiny_tokenizer())
    loaded = LoadedModel(tiny_model(), chat, "tiny", "0", 512)
    encoded, _ = loss.encode(ROWS[:9], chat, 512)
    monkeypatch.setattr(losses, "_BATCH_BYTES", 1)
    assert [len(lines) for lines in loss.measure(loaded, encoded, 32)] == [1] * 9


def test_an_unknown_verifier_stops_the_job_before_anything_is_made(evaluation: Callable[..., Job]) -> None:
    bad = row("Which queue?", "billing", "rout")
    job = evaluation([*ROWS[:3], bad])
    with pytest.raises(ConfigError, match=f"row {bad.id}: there is no verifier named 'rout'"):
        worker.work(job, never)
    assert not (job.path / outcome.SAMPLES).exists()


def test_rows_without_a_verifier_count_for_the_loss_and_a_few_are_answered(evaluation: Callable[..., Job]) -> None:
    rows = [*ROWS[:3], *(row(f"Question {n}?") for n in range(6))]
    job = evaluation(rows, unverified_answers=2)
    found = Outcome.model_validate(worker.work(job, never))
    assert (found.n, found.unverified, found.loss_rows, found.answers) == (3, 6, 9, 5)
    assert sum(answer.passed is None for answer in answers(job).values()) == 2
    assert "6 of 9 rows have no verifier and count for the loss only; 2 of them are answered" in notes(job)


def test_a_loss_names_its_rows_family_also_where_the_row_is_not_answered(evaluation: Callable[..., Job]) -> None:
    rows = [row("Same?", "One."), row("Same?", "Two."), row("Other?"), row("Third?")]
    tagged = [one.model_copy(update={"tags": {"family": "f"}}) for one in rows[2:]]
    job = evaluation([*rows[:2], *tagged], unverified_answers=0)
    worker.work(job, never)
    named = {row: line.family for row, line in outcome.read(RowLoss, job.path / outcome.LOSSES).items()}
    assert named[rows[0].id] == named[rows[1].id] != ""
    assert {named[one.id] for one in tagged} == {"family=f"}


def test_without_any_verifier_there_is_no_pass_rate(evaluation: Callable[..., Job]) -> None:
    found = Outcome.model_validate(worker.work(evaluation([row("a"), row("b")], unverified_answers=0), never))
    assert (found.pass_rate, found.interval, found.floors, found.answers) == (None, None, None, 0)
    assert found.tokens_per_second is None
    assert found.loss is not None


def test_a_prompt_longer_than_the_context_fails_and_is_named(evaluation: Callable[..., Job]) -> None:
    long = row("word " * 200, "billing", "route")
    job = evaluation([*ROWS[:3], long])
    found = Outcome.model_validate(worker.work(job, never))
    assert (found.n, found.loss_rows) == (4, 3)
    assert answers(job)[long.id].passed is False
    assert "the model's context is 512" in answers(job)[long.id].why
    assert [(one.row, one.kind) for one in found.left_out] == [(long.id, "too long")]
    assert long.id in notes(job)


def test_the_loss_can_be_left_out(evaluation: Callable[..., Job]) -> None:
    job = evaluation(ROWS[:2], loss=False)
    found = Outcome.model_validate(worker.work(job, never))
    assert (found.loss, found.perplexity, found.loss_rows) == (None, None, 0)
    assert not (job.path / outcome.LOSSES).exists()


def test_a_number_of_rows_is_chosen_and_more_than_there_are_is_said(evaluation: Callable[..., Job]) -> None:
    assert Outcome.model_validate(worker.work(evaluation(rows=5), never)).n == 5
    job = evaluation(rows=500)
    assert Outcome.model_validate(worker.work(job, never)).n == 14
    assert "500 rows were asked for, and there are 14: all are used" in notes(job)


def test_another_shipped_chat_template_is_used_when_asked_for(evaluation: Callable[..., Job]) -> None:
    own, other = (worker.work(evaluation(ROWS[:2], template=name), never) for name in (None, "plain"))
    assert own["template_hash"] != other["template_hash"]


def test_a_split_without_rows_is_an_error(evaluation: Callable[..., Job]) -> None:
    with pytest.raises(DataError, match="rows@v1 has no train rows"):
        worker.work(evaluation(split="train"), never)


def test_an_unknown_dataset_is_refused_before_a_job_is_made(workspace: Workspace, folder: Path) -> None:
    with pytest.raises(StoreError, match="there is no dataset 'nothing'"):
        run.run(workspace, EvaluateConfig(model=str(folder), data="nothing"))
    assert jobs.listing(workspace) == []


def test_a_scorer_judges_the_rows_without_a_check_and_the_result_says_so(
    evaluation: Callable[..., Job], tmp_path: Path
) -> None:
    rules = tmp_path / "rules.py"
    rules.write_text(
        "from honed import Score\ndef judge(params, prompt, answer):\n"
        "    return Score(passed=params['answers'] == ['Fine.'], why='known', value=0.25)\n"
    )
    rows = [ROWS[0], *(row(f"Question {n}?") for n in range(3))]
    job = evaluation(rows, scorer=f"{rules}:judge")
    found = Outcome.model_validate(worker.work(job, never))
    assert (found.n, found.unverified, found.answers) == (4, 0, 4)
    judged = [answer for answer in answers(job).values() if answer.why == "known"]
    assert [answer.value for answer in judged] == [0.25] * 3
    assert found.value is not None and (found.value.n, found.value.mean) == (3, 0.25)
    assert found.scorer.startswith("rules.py:judge (")


def test_bits_per_byte_are_those_of_the_answers_text(evaluation: Callable[..., Job]) -> None:
    rows = [row("Question?", "Fünf."), row("Other?", "Six.")]
    job = evaluation(rows, unverified_answers=0)
    found = Outcome.model_validate(worker.work(job, never))
    losses = outcome.read(RowLoss, job.path / outcome.LOSSES)
    assert {line.bytes for line in losses.values()} == {6, 4}
    nats = sum(line.nats for line in losses.values())
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / 10)
    assert loss.bits_per_byte([RowLoss(row="old", nats=1.0, tokens=1)]) is None


def test_a_tag_and_a_segment_that_no_row_has_are_said(evaluation: Callable[..., Job]) -> None:
    rules = (Rule(name="young", where={"audience": ("kid",)}),)
    job = evaluation(ROWS[:2], segments=("audience", "audiense", "segment"), rules=rules, loss=False)
    worker.work(job, never)
    assert "no row has the tag 'audiense': nothing is given by it" in notes(job)
    assert "no row is of the segment 'young': nothing is given by it" in notes(job)
    assert notes(job).count("nothing is given by it") == 2
