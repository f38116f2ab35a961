"""Who answers: ranks that share the rows, the answers of earlier jobs, and models that a server runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import pre_tokenizers, processors

from honed.builtin.load import load
from honed.cli.main import run
from honed.config import build
from honed.errors import ConfigError, EndpointError, HonedError
from honed.evaluate import outcome, worker
from honed.evaluate.answerer import answerer
from honed.evaluate.config import EvaluateConfig
from honed.evaluate.harness.config import HarnessConfig
from honed.evaluate.loss_cache import LossCache
from honed.evaluate.outcome import Answer, Outcome, RowLoss
from honed.jobs import job as jobs
from honed.jobs import last_words, launch
from honed.jobs.job import Job
from honed.jobs.worker import Stopped
from honed.models import load as load_module
from honed.models import losses
from honed.models.chat import Encoded
from honed.records import Message
from honed.store import datasets
from honed.store.workspace import Workspace
from tests.loopback import Answer as Sent
from tests.loopback import Body, endpoint, error
from tests.tiny import START, tiny_folder, tiny_tokenizer

ROWS = [row for row in load("heldout") if len(json.dumps(row.model_dump()["messages"])) < 420][:9]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def evaluation(workspace: Workspace, folder: Path) -> Callable[..., Job]:
    """A job that no worker has run yet."""

    def make(**settings: Any) -> Job:
        made = datasets.write(workspace, "rows", ((row, "heldout") for row in ROWS), config={}, facts={})
        settings = {"model": str(folder), "max_tokens": 12, "batch_size": 4, **settings}
        return jobs.create(workspace, "evaluate", build(EvaluateConfig, {**settings, "data": made.ref}, "test"))

    return make


def never() -> bool:
    return False


def answers(job: Job) -> dict[str, Answer]:
    return outcome.read(Answer, job.path / outcome.SAMPLES)


def test_ranks_make_the_answers_and_losses_of_one_process(
    evaluation: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluation(answer_cache=False)
    expected = Outcome.model_validate(worker.work(whole, never))
    job = evaluation(answer_cache=False, ranks=2)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert worker.work(Job(job.path, rank=1), never) == {}
    assert len(outcome.read(Answer, job.path / f"rank1-{outcome.SAMPLES}")) == 4
    found = Outcome.model_validate(worker.work(job, never))
    assert answers(job) == answers(whole)
    assert len(outcome.read(RowLoss, job.path / outcome.LOSSES)) == 9
    assert (found.answers, found.passed, found.tokens, found.ranks) == (9, expected.passed, expected.tokens, 2)
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)


def test_ranks_that_were_stopped_go_on_from_what_each_has_written(
    evaluation: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = evaluation(answer_cache=False, ranks=2, loss=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    other, calls = Job(job.path, rank=1), iter(range(3))
    with pytest.raises(Stopped):
        worker.work(other, lambda: next(calls, None) is None)
    kept = (job.path / f"rank1-{outcome.SAMPLES}").read_bytes()
    worker.work(other, never)
    assert (job.path / f"rank1-{outcome.SAMPLES}").read_bytes().startswith(kept)
    found = Outcome.model_validate(worker.work(job, never))
    assert (found.answers, found.resumed_answers) == (9, 4)


def test_the_fault_of_another_rank_is_the_jobs(evaluation: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    job = evaluation(answer_cache=False, ranks=2, loss=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "this")
    last_words.leave(Job(job.path, rank=1), "out of memory", "Lower batch_size.")
    calls = iter(range(8))  # as many as it looks while it answers its own; then torchrun's request to stop comes
    with pytest.raises(HonedError, match="rank 1: out of memory"):
        worker.work(job, lambda: next(calls, None) is None)


def test_a_second_evaluation_takes_its_answers_from_the_cache(evaluation: Callable[..., Job]) -> None:
    first, again, longer, fresh = (
        evaluation(loss=False, **more) for more in ({}, {"batch_size": 1}, {"max_tokens": 13}, {"answer_cache": False})
    )
    made = Outcome.model_validate(worker.work(first, never))
    assert made.cached_answers == 0
    assert Outcome.model_validate(worker.work(again, never)).cached_answers == 9
    assert answers(first) == answers(again)
    kept = Outcome.model_validate(worker.work(longer, never)).cached_answers
    assert kept == 9 - made.cut < 9
    assert Outcome.model_validate(worker.work(fresh, never)).cached_answers == 0


def test_a_second_evaluation_loads_no_model_and_measures_nothing(
    evaluation: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, again = evaluation(), evaluation()
    made = Outcome.model_validate(worker.work(first, never))
    assert (made.cached_answers, made.cached_losses) == (0, 0)
    for name in ("weights", "load"):
        monkeypatch.setattr(load_module, name, lambda *_, **__: pytest.fail("the model was loaded"))
    monkeypatch.setattr(losses, "measure", lambda *_: pytest.fail("losses were measured"))
    found = Outcome.model_validate(worker.work(again, never))
    assert (found.cached_answers, found.cached_losses) == (9, 9)
    assert answers(again) == answers(first)
    assert outcome.read(RowLoss, again.path / outcome.LOSSES) == outcome.read(RowLoss, first.path / outcome.LOSSES)
    assert (found.loss, found.loss_interval, found.bits_per_byte) == (made.loss, made.loss_interval, made.bits_per_byte)


def test_losses_of_other_rows_templates_and_precisions_are_not_taken_from_the_cache(
    workspace: Workspace,
) -> None:
    one, other = Encoded((1, 2, 3), (0.0, 1.0, 1.0)), Encoded((1, 2, 3), (0.0, 0.0, 1.0))
    cache = LossCache(workspace, "model", "template", "fp32", "cpu", most=1)
    cache.keep({"a": one}, [RowLoss(row="a", nats=2.0, tokens=2, bytes=5)])
    assert cache.get({"b": one, "c": other}) == {"b": RowLoss(row="b", nats=2.0, tokens=2, bytes=5)}
    assert cache.get({"d": replace(one, apart=(other,))}) == {}
    bf16 = LossCache(workspace, "model", "template", "bf16", "cpu", most=1)
    assert bf16.get({"a": one}) == {}
    bf16.close()
    cache.keep({"a": other}, [RowLoss(row="a", nats=1.0, tokens=1)])
    cache.close()
    left = LossCache(workspace, "model", "template", "fp32", "cpu")
    assert set(left.get({"one": one, "other": other})) == {"other"}, "what was asked for the longest ago goes first"
    left.close()


@pytest.mark.parametrize(("bos", "spaced"), [(False, False), (True, False), (True, True)])
def test_a_text_without_the_chat_template_begins_as_its_tokenizer_begins_any(
    workspace: Workspace, tmp_path: Path, bos: bool, spaced: bool
) -> None:
    """That of Llama 2 also puts a space before it, but not behind BOS."""
    tokenizer = tiny_tokenizer()
    if bos:
        tokenizer.bos_token = START
        begins = processors.TemplateProcessing(single=f"{START} $A", special_tokens=[(START, 256)])
        tokenizer.backend_tokenizer.post_processor = begins
    if spaced:
        spaces = pre_tokenizers.Metaspace(replacement="Ġ", prepend_scheme="first", split=False)
        tokenizer.backend_tokenizer.pre_tokenizer = spaces
    folder = tiny_folder(tmp_path / "model")
    tokenizer.save_pretrained(folder)
    settings = EvaluateConfig(model=str(folder), suite=("lm-eval:a",), harness=HarnessConfig(chat=False))
    with answerer(jobs.create(workspace, "evaluate", settings), settings) as who:
        assert who.prepared is not None
        chat = who.prepared.chat
        found = chat.prompt_ids((Message(role="user", content="two and two are"),))
        assert found == chat.tokenizer("two and two are")["input_ids"]
    assert found[:2] == [*([256] if bos else []), *tiny_tokenizer()(" t" if spaced else "tw")["input_ids"]][:2]


def test_a_served_model_is_asked_and_what_is_not_known_is_said(evaluation: Callable[..., Job]) -> None:
    with endpoint(lambda _number, _body: Sent("billing")) as server:
        job = evaluation(model="served-model", endpoint={"base_url": server.url})
        found = Outcome.model_validate(worker.work(job, never))
    assert {body["model"] for body in server.asked} == {"served-model"}
    assert (found.answers, found.tokens, found.loss, found.perplexity) == (9, 45, None, None)
    assert found.model == f"served-model at {server.url}"
    assert (found.model_hash, found.template_hash, found.device) == ("served-model", "served", "served")
    assert any("held-out loss" in what for what in found.unknown)


def test_an_endpoint_that_dies_halfway_loses_nothing_and_is_asked_for_the_rest_only(
    evaluation: Callable[..., Job],
) -> None:
    def dying(number: int, _body: Body) -> Sent:
        return Sent("billing") if number < 5 else error(401, "no more")

    settings = {"concurrency": 1, "retries": 0}
    with endpoint(dying) as server:
        job = evaluation(model="m", endpoint={"base_url": server.url, **settings})
        with pytest.raises(EndpointError):
            worker.work(job, never)
        assert len(answers(job)) == 5
        server._answer = lambda _number, _body: Sent("refunds")
        before = len(server.asked)
        found = Outcome.model_validate(worker.work(job, never))
    assert (found.answers, found.resumed_answers) == (9, 5)
    assert len(server.asked) - before == 4


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ranks": 2}, "asked by one process"),
        ({"template": "plain"}, "leave out 'template'"),
        ({"endpoint": {"base_url": "http://h/v1", "model": "b"}}, "they are to be one"),
        ({"endpoint": {"base_url": "nowhere"}}, "is no address"),
    ],
)
def test_settings_that_do_not_go_with_an_endpoint_are_refused(settings: dict[str, Any], said: str) -> None:
    given = {"model": "a", "data": "rows", "endpoint": {"base_url": "http://h/v1"}, **settings}
    with pytest.raises(ConfigError, match=said):
        build(EvaluateConfig, given, "evaluate")


def test_a_model_named_twice_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "one", "--model", "two", "--data", "rows"]) == 1
    assert "MODEL one and --model two are two models" in capsys.readouterr().err


def test_a_served_model_is_named_on_the_command_line(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(job: Job) -> None:
        job.set_result({**worker.work(job, never), "seconds": 1.0})
        job.set_status(job.status().model_copy(update={"state": "done"}))

    monkeypatch.setenv("HONED_WORKSPACE", str(workspace.path))
    monkeypatch.setattr(launch, "start", start)
    with endpoint(lambda _number, _body: Sent("fine")) as server:
        asked = ["evaluate", "--endpoint", server.url, "--model", "served-model", "--suite", "ifeval", "--rows", "3"]
        assert run(asked) == 0
    assert len(server.asked) == 3
    said = capsys.readouterr().out
    assert f"served-model at {server.url}" in said
    assert "not known" in said
