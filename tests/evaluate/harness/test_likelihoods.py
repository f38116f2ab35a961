"""Log-likelihoods by the tiny model: exact, kept, made once; and prompts on their way to the engine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from honed.evaluate.answerer import Answerer
from honed.evaluate.config import EvaluateConfig
from honed.evaluate.harness.asking import Asking, key
from honed.evaluate.harness.likelihoods import LIKELIHOODS, Likelihoods
from honed.jobs import job as jobs
from honed.jobs.job import Job
from honed.jobs.worker import Stopped
from honed.models.chat import from_tokenizer
from honed.models.engine import Completion, Sampling
from honed.models.load import LoadedModel
from honed.models.local import LocalEngine
from honed.records import Message
from honed.store.workspace import Workspace
from tests.tiny import tiny_model, tiny_tokenizer

PAIRS = [([72, 105], [33, 40, 41]), ([1], [2]), ([5, 6, 7, 8, 9], [10, 11]), ([72, 105], [33])]


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return LoadedModel(tiny_model(context=64), from_tokenizer(tiny_tokenizer()), "tiny", "0" * 16, 64)


@pytest.fixture
def job(workspace: Workspace) -> Job:
    return jobs.create(workspace, "evaluate", EvaluateConfig(model="tiny", suite=("lm-eval:a",)))


def measured(job: Job, loaded: LoadedModel, batch_size: int = 2) -> Likelihoods:
    return Likelihoods(job, loaded, batch_size, lambda: None)


def by_hand(loaded: LoadedModel, context: list[int], continuation: list[int]) -> tuple[float, bool]:
    """As lm-eval's own model computes it: one row at a time, the last ``context + 1`` ids, all but the last fed."""
    ids = [*context, *continuation][-(loaded.context + 1) :]
    with torch.inference_mode():
        scores = loaded.model(torch.tensor([ids[:-1]])).logits[0].log_softmax(-1)[-len(continuation) :]
    said = torch.tensor(continuation)
    return float(scores.gather(1, said[:, None]).sum()), bool((scores.argmax(-1) == said).all())


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_likelihoods_are_those_of_one_row_at_a_time(job: Job, loaded: LoadedModel, batch_size: int) -> None:
    found = measured(job, loaded, batch_size).measure(PAIRS)
    for one, (context, continuation) in zip(found, PAIRS, strict=True):
        nats, greedy = by_hand(loaded, context, continuation)
        assert -one.nats == pytest.approx(nats, abs=1e-4)
        assert one.greedy is greedy


def test_the_likeliest_continuation_is_greedy(job: Job, loaded: LoadedModel) -> None:
    with torch.inference_mode():
        best = int(loaded.model(torch.tensor([[72, 105]])).logits[0, -1].argmax())
    found = measured(job, loaded).measure([([72, 105], [best]), ([72, 105], [(best + 1) % 256])])
    assert [one.greedy for one in found] == [True, False]


def test_a_context_that_does_not_fit_loses_its_beginning_only(job: Job, loaded: LoadedModel) -> None:
    long = [place % 250 for place in range(100)]
    (one,) = measured(job, loaded).measure([(long, [7, 8])])
    assert -one.nats == pytest.approx(by_hand(loaded, long, [7, 8])[0], abs=1e-4)
    (same,) = measured(job, loaded).measure([(long[-63:], [7, 8])])
    assert same.nats == pytest.approx(one.nats, abs=1e-4)


def test_a_continuation_without_tokens_is_certain(job: Job, loaded: LoadedModel) -> None:
    (one,) = measured(job, loaded).measure([([1, 2], [])])
    assert (one.nats, one.greedy) == (0.0, True)


def test_what_an_earlier_attempt_measured_is_not_measured_again(
    job: Job, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        Likelihoods(job, loaded, 1, stop).measure(PAIRS)
    path = job.path / LIKELIHOODS
    path.write_text(path.read_text() + '{"key": "to')  # a kill tore the next one
    again = measured(job, loaded)
    assert again.resumed == 1
    whole = again.measure(PAIRS)
    assert measured(job, loaded).resumed == len(PAIRS)
    monkeypatch.setattr("honed.models.losses._batch", lambda *_: pytest.fail("measured again"))
    assert measured(job, loaded).measure(PAIRS) == whole


def user(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def test_prompts_are_answered_as_the_engine_answers_them_and_one_without_room_has_an_empty_answer(
    job: Job, loaded: LoadedModel
) -> None:
    engine = LocalEngine(loaded, 4)
    asking = Asking(job, Answerer(engine, "tiny", "", "", "cpu", "fp32", load=lambda: loaded), 6, 4, lambda: None)
    prompts = [user("a"), user("b" * 80), user("c"), user("d")]
    short, long = Sampling(max_tokens=3), Sampling(max_tokens=6)
    found = asking.generate(prompts, [short, short, long, short])
    assert [found[0], found[3]] == engine.generate([prompts[0], prompts[3]], short)
    assert [found[2]] == engine.generate([prompts[2]], long)
    assert found[1] == Completion(text="", tokens=0, finish="length")
    assert "the model's context is 64" in asking.no_room[key(prompts[1])]
    assert asking.completions[key(prompts[2])] == found[2]


def test_a_field_of_a_row_becomes_a_tag_where_metrics_are_given_by_it() -> None:
    asking = Asking(None, None, 6, 4, lambda: None, fields=("topic", "level", "none"))  # type: ignore[arg-type]
    assert asking.tags({"topic": "law", "level": 3, "question": "Why?", "none": None}) == {"topic": "law", "level": "3"}


def test_a_job_s_folder_has_no_line_but_its_own(job: Job, loaded: LoadedModel) -> None:
    measured(job, loaded).measure(PAIRS[:1])
    assert len([line for line in Path(job.path / LIKELIHOODS).read_text().splitlines() if line]) == 1
