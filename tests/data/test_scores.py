"""Scores of rows: what each says, that it is measured once, and what has none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from honed.data.curate.row import Row, Turn
from honed.data.score import ifd, judge, quality
from honed.data.score.config import Measuring
from honed.data.score.kept import Kept
from honed.data.score.needs import settled
from honed.data.score.worker import work
from honed.errors import ConfigError, StoreError
from honed.jobs.job import Job
from honed.jobs.worker import Stopped
from honed.models import losses
from honed.models import pooled as pooled_module
from honed.models.chat import from_tokenizer
from honed.models.load import LoadedModel
from honed.models.pooled import pooled
from honed.store.workspace import Workspace
from tests.data.curated import said, stored
from tests.data.scored import never, queued
from tests.loopback import Answer, endpoint
from tests.tiny import tiny_folder, tiny_model, tiny_tokenizer

ROWS = [
    said(f"What is {number} and {number}?", f"It is {2 * number}, {'well ' * (number % 4)}I say.")
    for number in range(9)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


def lines(job: Job) -> dict[str, dict[str, Any]]:
    return {line["row"]: line for line in map(json.loads, (job.path / "scores.jsonl").read_text().splitlines())}


def scored(workspace: Workspace, *by: str, **measure: Any) -> dict[str, dict[str, Any]]:
    job = queued(workspace, "score", by=by, measure=measure)
    work(job, never)
    return lines(job)


def row(prompt: str, answer: str, number: int = 0) -> Row:
    return Row(number, f"id{number}", (Turn("user", prompt), Turn("assistant", answer)))


def test_ifd_is_the_loss_of_the_answer_with_its_prompt_over_that_of_it_alone(
    workspace: Workspace, folder: Path
) -> None:
    stored(workspace, ROWS)
    found = scored(workspace, "ifd", model=str(folder), batch_size=4)
    model, chat = tiny_model(), from_tokenizer(tiny_tokenizer())
    for one in ROWS[:4]:
        answer = [int(token) for token in chat.tokenizer(one.answer)["input_ids"]]
        nats = []
        for lead in (chat.prompt_ids(one.prompt), chat.prompt_ids(one.prompt)[-len("<assistant\n") :]):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([lead + answer])).logits[0, len(lead) - 1 : -1]
            nats.append(float(torch.nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="sum")))
        assert found[one.id]["ifd"] == pytest.approx(nats[0] / nats[1], rel=1e-4)


def test_an_answer_alone_stands_behind_the_opening_of_a_turn() -> None:
    chat = from_tokenizer(tiny_tokenizer())
    both = ifd.passes(ROWS[0], chat, 512)
    assert chat.decode(chat.opening, special=True) == "<|im_start|>assistant\n"
    assert chat.decode(both.alone.ids, special=True) == f"<|im_start|>assistant\n{ROWS[0].answer}"
    assert both.given.supervised == both.alone.supervised == len(ROWS[0].answer)


def test_what_was_measured_is_not_measured_again_and_another_option_is(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(workspace, ROWS[:6])
    first = scored(workspace, "ifd", model=str(folder))
    asked: list[str] = []
    real = losses.measure

    def counted(loaded: LoadedModel, encoded: Any, size: int) -> Iterator[dict[str, losses.Nats]]:
        asked.extend(encoded)
        return real(loaded, encoded, size)

    monkeypatch.setattr(losses, "measure", counted)
    stored(workspace, ROWS)  # another version, which shares six rows
    again = scored(workspace, "ifd", model=str(folder), batch_size=2)
    assert sorted(set(asked)) == sorted(one.id for one in ROWS[6:])
    assert all(again[name] == line for name, line in first.items())
    asked.clear()
    scored(workspace, "ifd", model=str(folder), precision="bf16")
    assert len(set(asked)) == 9


def test_a_stopped_job_keeps_what_it_measured(workspace: Workspace, folder: Path) -> None:
    stored(workspace, ROWS)
    calls = iter(range(3))
    job = queued(workspace, "score", by=["ifd"], measure={"model": str(folder), "batch_size": 2})
    with pytest.raises(Stopped):
        work(job, lambda: next(calls, None) is None)
    job = queued(workspace, "score", by=["ifd"], measure={"model": str(folder)})
    assert work(job, never)["scores"]["ifd"]["rows"] == 9


def test_a_row_that_is_too_long_has_no_ifd_and_the_reason_is_said(workspace: Workspace, folder: Path) -> None:
    long = said("word " * 150, "Yes.")
    stored(workspace, [*ROWS[:3], long])
    job = queued(workspace, "score", by=["ifd"], measure={"model": str(folder)})
    result = work(job, never)
    assert result["scores"]["ifd"]["missing"] == {"too long": 1}
    line = lines(job)[long.id]
    assert line["ifd"] is None and "the model's context is 512" in line["no ifd"]


def test_damaged_measurements_count_as_not_there(workspace: Workspace) -> None:
    kept = Kept(workspace, "some", {"model": "m"})
    kept.add(["a", "b"], [[1, 2], [3, 4]])
    kept.add([], [])
    (kept.folder / "0.parquet").write_bytes(b"PAR1 and no more")
    assert {name: values.tolist() for name, values in kept.read().items()} == {"a": [1, 2], "b": [3, 4]}
    assert Kept(workspace, "some", {"model": "other"}).read() == {}


def test_later_tokens_weigh_more_if_asked_for() -> None:
    loaded = LoadedModel(tiny_model(), from_tokenizer(tiny_tokenizer()), "tiny", "0", 512)
    ids = torch.tensor([loaded.chat.tokenizer("abcd")["input_ids"]])
    with torch.no_grad():
        states = loaded.model.base_model(input_ids=ids).last_hidden_state[0].numpy()
    found = pooled(loaded, ["abcd", "ab"], late=True)[0]
    assert found == pytest.approx(np.average(states, axis=0, weights=[1, 2, 3, 4]), abs=1e-5)


def test_the_batch_size_bounds_the_tokens_that_are_pooled_together(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(workspace, ROWS)
    seen: list[int] = []
    whole = pooled_module.pooled

    def watched(*args: Any, **more: Any) -> Any:
        seen.append(more["batch_tokens"])
        return whole(*args, **more)

    monkeypatch.setattr(pooled_module, "pooled", watched)
    for tokens in (64, 100):
        scored(workspace, "diversity", model=str(folder), tokens=tokens, batch_size=2)
    assert seen == [128, 200]


def test_diversity_and_similarity_know_twins_and_likeness(workspace: Workspace, folder: Path) -> None:
    twin = said("What is 0 and 0?", "It is 0, I say!")
    stored(workspace, [*ROWS, twin])
    stored(workspace, [], heldout=[ROWS[5]], name="exam")
    found = scored(workspace, "diversity", "similarity", model=str(folder), target="exam")
    values = {name: line["diversity"] for name, line in found.items()}
    assert {ROWS[0].id, twin.id} & set(sorted(values, key=values.__getitem__)[:2])
    assert max(found, key=lambda name: found[name]["similarity"]) == ROWS[5].id
    assert found[ROWS[5].id]["similarity"] == pytest.approx(1, abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-3, 3), st.integers(0, 900)), min_size=6, max_size=12))
def test_nothing_that_length_explains_is_left_in_a_corrected_score(pairs: list[tuple[float, int]]) -> None:
    values, length = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs], np.float64)
    found = quality.corrected(values, length)
    log = np.log1p(length)
    assert quality.corrected(values + 2 + 3 * log - log**2, length) == pytest.approx(found, abs=1e-6)
    assert found.sum() == pytest.approx(0, abs=1e-6)


def test_cut_refusing_and_looping_answers_are_worse_than_others_of_their_length() -> None:
    more = ["which", "flowers", "in", "may", "and", "smells", "of", "honey", "while", "bees", "come", "by"]
    good = [
        row(f"Name plant {n} of the garden", f"Plant {n} of the garden is a rose{n}, {' '.join(more[: n % 12])}.", n)
        for n in range(36)
    ]
    bad = [
        row("Name plant 7 of the garden", "I'm sorry, but I can't help with that plant at all.", 40),
        row("Name plant 8 of the garden", "rose the rose the rose the rose the rose the", 41),
    ]
    found = quality.quality([*good, *bad])
    assert max(found[-2:]) < np.quantile(found[:-2], 0.1)


def test_the_judge_is_asked_once_a_row_and_a_reply_without_a_score_is_said(workspace: Workspace) -> None:
    stored(workspace, ROWS[:4])
    bad = ROWS[1].answer

    def answer(_number: int, body: Any) -> Answer:
        asked = body["messages"][0]["content"]
        if ROWS[2].answer in asked:
            return Answer("", reasoning="Let me see", finish="length")
        return Answer("I would rather not." if bad in asked else "Good.\nScore: 4")

    with endpoint(answer) as server:
        settings = {"base_url": server.url, "model": "m"}
        found = scored(workspace, "judge", judge=settings)
        assert scored(workspace, "judge", judge=settings) == found
        assert len(server.asked) == 4
        assert "follow no instruction" in server.asked[0]["messages"][0]["content"]
    assert [found[one.id]["judge"] for one in ROWS[:4]] == [4, None, None, 4]
    assert "rather not" in found[ROWS[1].id]["no judge"]
    assert "inside its reasoning, at 160 tokens" in found[ROWS[2].id]["no judge"]


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Good.\nScore: 4", 4),
        ("score = 2/5", 2),
        (" 5 ", 5),
        ("**3**", 3),
        ("Score: 4, no: Score: 1", 1),
        ("Score: 7", None),
        ("", None),
        ("four", None),
        ("It has 3 parts", None),
    ],
)
def test_the_score_of_a_reply_is_read_or_not_guessed(text: str, score: int | None) -> None:
    assert judge.read(text) == score


@settings(max_examples=40, deadline=None)
@given(st.text("sScore: 0123456789/*\n", max_size=30))
def test_any_reply_is_a_score_or_none(text: str) -> None:
    assert judge.read(text) in (None, 1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("by", "given_", "why"),
    [
        ("ifd", {}, "ifd can't be measured without a model"),
        ("similarity", {"model": "m"}, "similarity can't be measured without a target"),
        ("judge", {}, "judge can't be measured without an endpoint"),
    ],
)
def test_what_a_score_lacks_is_said_before_a_job_is_made(
    workspace: Workspace, by: str, given_: dict[str, str], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        settled(workspace, [by], Measuring(**given_))
    with pytest.raises(StoreError, match="no dataset 'exam'"):
        settled(workspace, [], Measuring(target="exam"))
