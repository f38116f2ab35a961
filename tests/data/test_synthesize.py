"""Synthesis against a real server on loopback: what is kept, what is left out, and that nothing is paid twice."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import orjson
import pytest

from honed.data.curate.worker import work as curate
from honed.data.export import FORMATS, export
from honed.data.synthesize.worker import work
from honed.errors import EndpointError
from honed.jobs import launch
from honed.jobs.worker import Stopped
from honed.records import Check
from honed.registry import get
from honed.store import artifacts, datasets
from honed.store.workspace import Workspace
from tests.data import curated
from tests.data.curated import said, stored
from tests.data.files import taken
from tests.data.synthesized import SEEDS, asks_for_json, done, made_up, queued, writes
from tests.loopback import Answer, Body, endpoint, error
from tests.loopback import said as last


def test_new_tasks_are_written_answered_and_marked(workspace: Workspace) -> None:
    seeds = stored(workspace, SEEDS)
    with endpoint(writes) as served:
        result, rows, _ = done(queued(workspace, served, system="Be brief."))
    assert (result["dataset"], result["train"], result["heldout"], result["rows"]) == ("made@v1", 4, 0, 4)
    assert result["synthetic"] == {"method": "self-instruct", "generator": "writer", "mended": {}}
    assert (result["requests"], result["cached"]) == (8, 0)
    for row in rows:
        assert row.tags == {"synthetic": "self-instruct", "generator": "writer"}
        assert [turn.role for turn in row.messages] == ["system", "user", "assistant"]
        assert row.answer == "It is done as you asked, in one whole sentence."
    made = artifacts.resolve(workspace, "datasets", "made")
    assert made.manifest.parents == {seeds.ref: seeds.manifest.hash}
    shown = last(served.asked[0])
    assert sum(f"Task {place}: Explain" in shown for place in range(1, 5)) == 4


def test_what_is_left_out_is_counted_and_can_be_read(workspace: Workspace) -> None:
    stored(workspace, SEEDS, [said("Name all the colours of the rainbow in their order.", "Red to violet.")])
    written = iter(
        [
            "I would rather not.",
            '{"task": "x"}',
            '{"instruction": "Do it"}',
            '{"instruction": "Name all the colours of the rainbow in their order."}',
            '{"instruction": "Explain rivers to a class of 20 pupils."}',
            '{"instruction": "Tell me a joke about the tax office."}',
            '{"instruction": "How far is it from Oslo to Bergen by train?"}',
            '```json\n{"instruction": "Write a limerick on moss and stones.",}\n```',
            '{"instruction": "Write a limerick on moss and stones, please."}',
        ]
    )

    def answer(number: int, body: Body) -> Answer:
        if asks_for_json(body):
            return Answer(next(written, '{"instruction"'))
        if "joke" in last(body):
            return Answer("I'm sorry, but I can't help with that.")
        if "Oslo" in last(body):
            return Answer("It is about", finish="length")
        return Answer("Moss is soft and stones are hard.")

    with endpoint(answer) as served:
        job = queued(workspace, served, rows=3, attempts=3, endpoint={"concurrency": 1})
        result, rows, left = done(job)
    assert [row.messages[-2].content for row in rows] == ["Write a limerick on moss and stones."]
    assert result["dropped"] == {
        "near duplicate": 3,
        "no JSON": 1,
        "wrong JSON": 1,
        "too short": 1,
        "refusal": 1,
        "cut": 1,
    }
    assert result["synthetic"]["mended"] == {"code fence": 1, "commas": 1}
    assert result["ended"] == "9 tries gave no more: attempts is 3"
    told = {str(fault): text for fault, text in left}
    assert told["self-instruct by writer:1: reply: the reply can't be read as JSON: no JSON in it"] == (
        "I would rather not."
    )
    assert "self-instruct by writer:2: reply: instruction: field required" in told
    assert any("of its runs of words are those of the held-out row" in str(fault) for fault, _ in left)
    assert any("of its runs of words are those of the seed" in str(fault) for fault, _ in left)
    assert any("of its runs of words are those of the new row" in str(fault) for fault, _ in left)


def test_evolved_tasks_go_deeper_and_broader_in_turn(workspace: Workspace) -> None:
    stored(workspace, SEEDS)
    with endpoint(writes) as served:
        _, rows, _ = done(queued(workspace, served, "evolve", endpoint={"concurrency": 1}))
    asked = [last(body)[:400] for body in served.asked if asks_for_json(body)]
    assert sum("harder task" in text for text in asked) == sum("same kind" in text for text in asked) == 2
    assert {row.tags["seed"] for row in rows} <= {row.id for row in SEEDS}


def test_further_laps_over_the_seeds_evolve_each_the_other_way_and_draw_anew(workspace: Workspace) -> None:
    stored(workspace, SEEDS[:3])

    def answer(number: int, body: Body) -> Answer:
        drawn = body.get("seed", 0)
        return writes(number, {**body, "messages": [{"role": "user", "content": f"{last(body)} {drawn}"}]})

    with endpoint(answer) as served:
        result, rows, _ = done(queued(workspace, served, "evolve", rows=12, endpoint={"concurrency": 1}))
        bodies = [body for body in served.asked if asks_for_json(body)]
    assert (len(rows), result["cached"]) == (12, 0)
    ways = {(("harder task" in last(body)), body.get("seed", 0) % 2) for body in bodies}
    assert len(ways) == 4  # on either lap, some seeds go deeper and some broader
    of_one = [body for body in bodies if SEEDS[0].messages[0].content in last(body)]
    assert {"harder task" in last(body) for body in of_one} == {True, False}


def test_requests_that_are_refused_once_others_were_answered_lose_their_rows_only(workspace: Workspace) -> None:
    stored(workspace, SEEDS)
    refused = [0]

    def answer(number: int, body: Body) -> Answer:
        if asks_for_json(body) or not any(asks_for_json(one) is False for one in served.asked[:-1]):
            return writes(number, body)
        refused[0] += 1
        return error(400, "filtered")

    with endpoint(answer) as served:
        result, rows, _ = done(queued(workspace, served, rows=6, endpoint={"concurrency": 1}))
    assert 0 < len(rows) < 6 and refused[0] > 1
    assert result["dropped"]["refused by the endpoint"] == refused[0]


def test_a_conversation_does_not_go_on_with_what_is_held_out(workspace: Workspace) -> None:
    stored(workspace, SEEDS[:1], [said("Name all the colours of the rainbow in their order.", "Red to violet.")])
    asked = iter(["Name all the colours of the rainbow, in their order!", "And how long are they?"])

    def answer(_number: int, _body: Body) -> Answer:
        return Answer(json.dumps({"turns": [{"user": next(asked), "assistant": "That is told in one sentence."}]}))

    with endpoint(answer) as served:
        result, (row,), _ = done(queued(workspace, served, "continue", rows=1, endpoint={"concurrency": 1}))
    assert result["dropped"] == {"near duplicate": 1}
    assert row.messages[-2].content == "And how long are they?"


def test_other_words_keep_the_answer_its_tags_and_its_numbers(workspace: Workspace) -> None:
    check = Check(verifier="pattern", params={"contains": ["four"]})
    stored(workspace, [said("What is 2 plus 2, in words?", "It is four, of course.", check=check)])
    written = iter(
        [
            '{"instruction": "Add two and two up for me, in words."}',
            '{"instruction": "What is 2 plus 2, in  words?"}',
            '{"instruction": "Is it so that 2 and 2 makes this: It is four, of course."}',
            '{"instruction": "In words, please tell me the sum 2 + 2."}',
        ]
    )
    with endpoint(lambda _n, _b: Answer(next(written))) as served:
        job = queued(workspace, served, "paraphrase", rows=1, attempts=4, endpoint={"concurrency": 1})
        result, (row,), _ = done(job)
    assert result["dropped"] == {"changed facts": 1, "unchanged": 1, "answer in instruction": 1}
    assert row.messages[0].content == "In words, please tell me the sum 2 + 2."
    assert (row.answer, row.check) == ("It is four, of course.", check)
    assert (row.tags["source"], row.tags["synthetic"]) == ("test", "paraphrase")


def test_a_conversation_goes_on_and_only_new_answers_carry_a_loss(workspace: Workspace) -> None:
    stored(workspace, SEEDS[:1])
    turns = [{"user": "And how long are they?", "assistant": "Some are very long."}]
    with endpoint(lambda _n, _b: Answer(json.dumps({"turns": turns * 2}))) as served:
        _, (row,), _ = done(queued(workspace, served, "continue", rows=1, turns=2))
    assert [turn.role for turn in row.messages] == ["user", "assistant"] * 3
    assert [turn.weight for turn in row.messages] == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    assert row.tags["synthetic"] == "continue"


def test_an_answer_that_fails_its_verifier_is_left_out_and_the_first_of_several_that_passes_is_kept(
    workspace: Workspace,
) -> None:
    stored(workspace, SEEDS)
    good = "WE SEE, WE SAY, WE STAY."

    def answer(number: int, body: Body) -> Answer:
        seed = body.get("seed", 0)
        return Answer(good if seed == 2 else "we see what we can say.")

    with endpoint(answer) as served:
        _, rows, left = done(queued(workspace, served, "constrain", rows=6, attempts=10, best_of=3))
    assert rows
    for row in rows:
        assert row.check is not None
        assert row.check.verifier == "ifeval"
        assert get("verifiers", "ifeval")(row.check.params, row.prompt, row.answer).passed
        assert all(
            words in row.messages[0].content for words in get("instructions", "ifeval").describe(row.check.params)
        )
        assert row.tags["synthetic"] == "constrain"
    assert good in {row.answer for row in rows}
    assert any(fault.kind == "fails its verifier" and "none of 3 answers" in fault.message for fault, _ in left)


def test_questions_on_documents_must_quote_the_passage_and_the_unanswerable_are_asked_again(
    workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "docs").mkdir()
    text = "The ferry leaves at nine on weekdays and at ten on Sundays, and it takes forty minutes to reach the island."
    (tmp_path / "docs" / "ferry.md").write_text(f"# Ferry\n\n## Times\n\n{text}\n")
    calls = iter(range(100))

    def answer(number: int, body: Body) -> Answer:
        if "yes or no" in last(body):
            return Answer("No." if "price" in last(body) else "Yes, it does.")
        place = next(calls)
        if '"quote"' in last(body):
            quote = "at nine on weekdays" if place % 2 else "at noon on Mondays"
            question = f"When does the ferry number {place} leave {place} days before {place}?"
            return Answer(json.dumps({"question": question, "quote": quote, "answer": "At nine."}))
        question = f"What is the {'price' if place % 3 else 'time'} for {place} people on {place} trips of {place}?"
        return Answer(json.dumps({"question": question, "answer": "The passage does not tell; it gives times only."}))

    with endpoint(answer) as served:
        job = queued(workspace, served, "documents", documents=(str(tmp_path / "docs"),), rows=12, unanswerable=0.5)
        result, rows, _ = done(job)
    assert {row.tags["answerable"] for row in rows} == {"yes", "no"}
    assert {"no such quote", "answerable after all"} <= result["dropped"].keys()
    assert rows[0].messages[0].content.startswith(f"Ferry > Times\n\n{text}\n\nQuestion: ")
    assert rows[0].tags["document"] == "ferry.md, passage 1"


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Answer(slow=1.2), "no answer within 0.8 seconds"),
        (error(429, "slow down"), "answers 429 Too Many Requests: slow down"),
        (Answer(raw=b'{"choices": [{"mess'), "half a JSON document"),
        (error(401, "no key"), "answers 401 Unauthorized: no key"),
        (error(400, "unknown field"), "answers 400 Bad Request: unknown field"),
    ],
)
def test_an_endpoint_that_fails_is_named_and_what_was_paid_is_kept(
    workspace: Workspace, bad: Answer, words: str
) -> None:
    stored(workspace, SEEDS)
    broken = [True]

    def answer(number: int, body: Body) -> Answer:
        return bad if broken[0] and number >= (3 if bad.status != 400 else 0) else writes(number, body)

    with endpoint(answer) as served:
        update = {"timeout_seconds": 0.8, "retries": 1, "concurrency": 1}
        job = queued(workspace, served, endpoint=update)
        with pytest.raises(EndpointError, match=words) as raised:
            work(job, lambda: False)
        assert raised.value.hint
        assert artifacts.listing(workspace, "datasets") == [artifacts.resolve(workspace, "datasets", "set")]
        broken[0] = False
        result, rows, _ = done(job)
    assert len(rows) == 4
    assert result["cached"] == (3 if bad.status != 400 else 0)


def test_a_stopped_job_goes_on_and_asks_for_nothing_twice(workspace: Workspace) -> None:
    stored(workspace, SEEDS)
    stop: list[int] = []

    def answer(number: int, body: Body) -> Answer:
        if number == 5:
            stop.append(1)
        return writes(number, body)

    with endpoint(answer) as served:
        job = queued(workspace, served, rows=10)
        with pytest.raises(Stopped):
            work(job, lambda: bool(stop))
        before = len(served.asked)
        result, rows, _ = done(job)
        bodies = [orjson.dumps(dict(body)) for body in served.asked]
    assert (len(rows), result["cached"]) == (10, before)
    assert len(bodies) == len(set(bodies)) == result["cached"] + result["requests"]


def test_a_killed_worker_goes_on_and_pays_again_for_no_more_than_was_under_way(workspace: Workspace) -> None:
    stored(workspace, SEEDS)
    with endpoint(lambda number, body: Answer(writes(number, body).content, slow=0.05)) as served:
        job = queued(workspace, served, rows=10, endpoint={"concurrency": 2})
        launch.start(job)
        deadline = time.monotonic() + 60
        while len(served.asked) < 6 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(job.status().pid, signal.SIGKILL)
        while job.status().state == "running":
            time.sleep(0.05)
        assert job.status().state == "interrupted"
        result, rows, _ = done(job)
        bodies = [orjson.dumps(dict(body)) for body in served.asked]
    assert len(rows) == 10
    assert len(bodies) - len(set(bodies)) <= 2
    assert result["cached"] >= 4


def test_the_money_ends_it_with_the_rows_so_far(workspace: Workspace) -> None:
    stored(workspace, SEEDS)
    prices = {"prompt_price": 1e6, "completion_price": 1e6, "concurrency": 1}

    def answer(_number: int, body: Body) -> Answer:
        turn = {"user": f"Go on with {made_up(last(body))}.", "assistant": "As you like."}
        return Answer(json.dumps({"turns": [turn]}), usage=(20, 20))

    with endpoint(answer) as served:
        job = queued(workspace, served, "continue", rows=10, max_tokens=16, endpoint={**prices, "max_cost": 500.0})
        result, rows, _ = done(job)
    assert 0 < len(rows) < 10
    assert "max_cost 500 is reached" in result["ended"]
    assert result["cost"] == 40 * len(rows) <= 500


def test_the_same_replies_make_the_same_dataset_however_many_come_at_a_time(workspace: Workspace) -> None:
    stored(workspace, SEEDS)
    with endpoint(lambda n, body: Answer(writes(n, body).content, slow=0.02 * (n % 3))) as served:
        _, one, _ = done(queued(workspace, served, rows=8, endpoint={"concurrency": 8}))
        again, other, _ = done(queued(workspace, served, rows=8, endpoint={"concurrency": 8}))
    assert one == other
    assert (again["dataset"], again["new"], again["cached"], again["requests"]) == ("made@v1", False, 16, 0)


def test_the_mark_is_kept_by_curation_and_by_every_format(workspace: Workspace, tmp_path: Path) -> None:
    stored(workspace, SEEDS)
    with endpoint(writes) as served:
        done(queued(workspace, served))
    result = curate(curated.queued(workspace, dataset="made", name="clean"), lambda: False)
    clean = artifacts.resolve(workspace, "datasets", result["dataset"])
    marks = {"synthetic": "self-instruct", "generator": "writer"}
    assert [dict(row.tags) for row in datasets.rows(clean, "train")] == [marks] * 4
    for form in ("alpaca", "messages", "sharegpt", "prompt-response"):
        assert form in FORMATS
        export(clean, form, tmp_path / f"{form}.jsonl", "all")
        _, good, _ = taken(tmp_path / f"{form}.jsonl")
        assert [dict(one.row.tags) for one in good] == [marks] * 4


def test_what_comes_of_a_synthetic_row_is_synthetic_by_both_names(workspace: Workspace) -> None:
    row = said("Explain comets to a class of 22 pupils.", "They are ice and dust.")
    marked = row.model_copy(update={"tags": {"synthetic": "evolve", "generator": "first"}})
    stored(workspace, [marked])
    turns = {"turns": [{"user": "And how big are they?", "assistant": "Some kilometres."}]}
    with endpoint(lambda _n, _b: Answer(json.dumps(turns))) as served:
        _, (made,), _ = done(queued(workspace, served, "continue", rows=1))
    assert made.tags == {"synthetic": "evolve, continue", "generator": "first, writer", "seed": marked.id}
