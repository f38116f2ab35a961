"""A round as a job: promoted, held, stopped, killed and resumed. Its trainings and evaluations take no model."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from honed.errors import ConfigError, StoreError
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.events import Note, Step
from honed.jobs.job import Job
from honed.records import Consent
from honed.store import aliases, artifacts, datasets
from honed.store.database import open_database
from honed.store.interactions import Interactions
from honed.store.workspace import Workspace
from tests.rounds.desk import ANSWER, finish, here, speak, start

BILLS = [f"Bill {n}: which queue?" for n in range(24)]


def until(seen: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def ended(job: Job) -> str:
    for _ in launch.follow(job):
        pass
    return job.status().state


def started(job: Job, stage: str) -> Job | None:
    """The round's job of a stage, once it runs."""
    found = [one for one in jobs.listing(job.workspace) if one.status().stage == stage]
    return next((one for one in found if one.status().state == "running"), None)


def notes(job: Job) -> str:
    return "\n".join(event.text for event in job.events() if isinstance(event, Note))


def test_a_candidate_that_passes_is_promoted_and_the_round_says_all_of_it(quick: Workspace) -> None:
    speak(quick, "first@v1", BILLS)
    job = start(quick)
    found = finish(job)
    assert (found.ref, found.verdict, found.before, found.candidate) == ("desk@v1", "promoted", "first@v1", "desk@v1")
    assert aliases.target(quick, "live") == "desk@v1"
    assert aliases.history(quick, "live")[-1].round == "desk@v1"
    assert "Suite bills improved: from 0" in found.reasons[0] and "12 won, 0 lost" in found.reasons[0]
    (suite,) = found.suites
    assert (suite.n, suite.won, suite.lost, suite.verdict) == (12, 12, 0, "pass")
    assert [(one.name, one.n, one.verdict) for one in suite.audiences] == [("expert", 6, "pass"), ("novice", 6, "pass")]
    assert found.feedback["rows"] == found.feedback["events"] == 24
    assert set(found.jobs) == {"round", "sft", "before/bills", "after/bills"} <= {*found.seconds, "round"}
    assert found.jobs["round"] == job.id
    manifest = artifacts.resolve(quick, "rounds", "desk").manifest
    assert {"models/first@v1", "models/desk@v1", "datasets/desk-data@v1", "datasets/bills@v1"} <= set(manifest.parents)
    assert job.result()["verdict"] == "promoted"
    stages = {event.stage for event in job.events() if isinstance(event, Step)}
    assert "sft: train" in stages


def test_what_is_trained_on_has_both_datasets_as_parents_and_holds_out_what_the_first_did(quick: Workspace) -> None:
    speak(quick, "first@v1", [*BILLS, "Bill 100: which queue?"])
    found = here(quick)
    assert found.feedback["leaks"] == 2  # the row and the pair of the last question, which the suite holds out
    data = artifacts.resolve(quick, "datasets", str(found.dataset))
    assert set(data.manifest.parents) == {"desk-feedback@v1", "bills@v1"}
    assert (data.manifest.facts["train"], data.manifest.facts["heldout"]) == (30, 12)
    held = {row.prompt_id for row in datasets.rows(data, "heldout")}
    assert held.isdisjoint(row.prompt_id for row in datasets.rows(data, "train"))
    assert held.isdisjoint(pair.prompt_id for pair in datasets.preferences(data))
    assert "to train on it would be a leak" in (data.path / "dropped.jsonl").read_text()


def test_edits_that_break_a_suite_are_held_and_live_stays(quick: Workspace) -> None:
    speak(quick, "first@v1", BILLS)
    here(quick)
    speak(quick, "desk@v1", BILLS, edit="no idea")
    wanted = {"data": "bills", "role": "keep"}
    found = here(quick, replay=0, derive={"models": ["desk@v1"]}, suites=[wanted])
    assert (found.ref, found.verdict, found.candidate) == ("desk@v2", "held", "desk@v2")
    assert aliases.target(quick, "live") == "desk@v1"
    assert found.reasons[0].startswith("Suite bills fell: from 100")
    assert any("audience expert fell" in reason for reason in found.reasons)
    assert artifacts.resolve(quick, "models", "desk@v2")  # there to be looked at


def test_pairs_are_trained_on_after_the_rows(quick: Workspace) -> None:
    speak(quick, "first@v1", BILLS)
    found = here(quick, dpo={"rows": 8})
    assert list(found.jobs) == ["round", "sft", "dpo", "before/bills", "after/bills"]
    candidate = artifacts.resolve(quick, "models", str(found.candidate)).manifest
    assert set(candidate.parents) == {"desk-sft@v1", "desk-data@v1"}
    assert candidate.config["objective"] == "dpo" and candidate.config["rows"] == 8


def test_without_feedback_nothing_is_trained_and_the_reason_is_said(quick: Workspace) -> None:
    found = here(quick)
    assert (found.verdict, found.candidate, found.suites) == ("held", None, ())
    assert found.reasons == ("There is no feedback yet, so there was nothing to train on.",)
    assert [job.status().stage for job in jobs.listing(quick)] == ["rounds"]
    assert aliases.target(quick, "live") == "first@v1"


def test_without_consent_nothing_is_trained_and_the_reason_is_counted(quick: Workspace) -> None:
    speak(quick, "first@v1", BILLS[:3], granted=False)
    found = here(quick)
    assert found.verdict == "held" and found.dataset is None
    reason = "the person doesn't allow training"
    assert found.reasons == (f"Nothing was derived from 3 feedback events: 3 because {reason}.",)
    assert found.left_out == {reason: 3}


@pytest.mark.parametrize(
    ("texts", "edit", "said"),
    [
        (BILLS[:2], "", "Feedback gave 2 ratings only"),
        (["Bill 100: which queue?"], ANSWER, "Nothing is left to train on: 2 records from feedback"),
    ],
)
def test_what_can_not_be_trained_on_is_held_with_the_reason(
    quick: Workspace, texts: list[str], edit: str, said: str
) -> None:
    speak(quick, "first@v1", texts, edit=edit)
    found = here(quick)
    assert (found.verdict, found.candidate) == ("held", None)
    assert found.reasons[0].startswith(said)


def test_withdrawn_consent_is_out_of_the_next_rounds_data(quick: Workspace) -> None:
    speak(quick, "first@v1", BILLS)
    first = here(quick)
    database = open_database(quick)
    said = Consent(subject=f"s-{BILLS[0]}", purpose="train", granted=False, created=time.time() + 1)
    Interactions(database).set_consent(said)
    database.close()
    second = here(quick, data=str(first.dataset))
    data = artifacts.resolve(quick, "datasets", str(second.dataset))
    texts = {row.prompt[-1].content for row in datasets.rows(data, "train")}
    assert BILLS[0] not in texts and set(BILLS[1:]) < texts


def test_a_killed_round_is_resumed_with_the_job_it_had_and_no_step_twice(quick: Workspace) -> None:
    speak(quick, "first@v1", BILLS)
    job = start(quick, sft={"learning_rate": 2.0})  # which waits
    until(lambda: started(job, "train"), "the training didn't start")
    until(lambda: "sft: job" in notes(job), "the training wasn't noted")
    training = started(job, "train")
    assert training
    os.kill(job.status().pid, signal.SIGKILL)
    until(lambda: job.status().state == "interrupted", "not killed")
    assert training.status().state == "running"  # it goes on by itself
    launch.resume(job)
    (quick.path / "go").touch()
    found = finish(job)
    assert found.verdict == "promoted" and found.jobs["sft"] == training.id
    assert training.status().attempt == 1
    assert len(artifacts.listing(quick, "models")) == 2 and len(artifacts.listing(quick, "rounds")) == 1
    assert notes(job).count("24 rows, 24 pairs") == 1  # derived once


def test_a_stopped_round_stops_its_job_and_both_are_resumed(quick: Workspace) -> None:
    speak(quick, "first@v1", BILLS)
    job = start(quick, sft={"learning_rate": 2.0})
    until(lambda: started(job, "train"), "the training didn't start")
    training = started(job, "train")
    assert training
    launch.stop(job)
    assert (job.status().state, training.status().state) == ("stopped", "stopped")
    (quick.path / "go").touch()
    launch.resume(job)
    found = finish(job)
    assert found.jobs["sft"] == training.id and training.status().attempt == 2


def test_a_failed_training_fails_the_round_in_its_words_and_is_resumed(quick: Workspace) -> None:
    speak(quick, "first@v1", BILLS)
    (quick.path / "fail").touch()
    job = start(quick)
    assert ended(job) == "failed"
    status = job.status()
    assert status.message == "sft: none of its rows can be used"
    assert status.hint == f"Import more rows. Go on with: honed jobs resume {job.id}"
    (quick.path / "fail").unlink()
    launch.resume(job)
    assert finish(job).verdict == "promoted"


def test_a_round_killed_between_publishing_and_promoting_promotes_when_resumed(quick: Workspace) -> None:
    speak(quick, "first@v1", BILLS)
    job = start(quick)
    finish(job)
    path = quick.path / "aliases" / "live.jsonl"
    path.write_text(path.read_text().splitlines(keepends=True)[0])  # as if it never came to that
    job.set_status(job.status().model_copy(update={"state": "failed"}))
    launch.resume(job)
    assert finish(job).ref == "desk@v1"
    assert [move.model for move in aliases.history(quick, "live")] == ["first@v1", "desk@v1"]
    job.set_status(job.status().model_copy(update={"state": "failed"}))
    launch.resume(job)
    finish(job)
    assert len(aliases.history(quick, "live")) == 2  # moved once, however often it is resumed


def test_a_model_that_went_live_meanwhile_holds_the_round(quick: Workspace) -> None:
    speak(quick, "first@v1", BILLS)
    with artifacts.draft(quick, "models", "other") as scratch:
        (scratch / "answer.txt").write_text("hello")
        artifacts.publish(scratch, "models", parents={}, config={}, facts={})
    job = start(quick, sft={"learning_rate": 2.0})
    until(lambda: started(job, "train"), "the training didn't start")
    aliases.move(quick, "live", "other@v1", why="by hand")
    (quick.path / "go").touch()
    found = finish(job)
    assert found.verdict == "held"
    assert found.reasons == ("'live' names other@v1 by now, and the candidate was compared with first@v1.",)
    assert aliases.target(quick, "live") == "other@v1"


@pytest.mark.parametrize(
    ("values", "error", "message", "hint"),
    [
        ({"sft": {"learning_rat": 1}}, ConfigError, "round desk: sft: unknown key 'learning_rat'", "'learning_rate'"),
        ({"dpo": {"preference": {"bet": 1}}}, ConfigError, "round desk: dpo: unknown key 'preference.bet'", "'beta'"),
        ({"dpo": {"preference": {"gamma": 1}}}, ConfigError, "round desk: dpo: settings: preference.gamma", ""),
        ({"dpo": {"enabled": "maybe"}}, ConfigError, "dpo.enabled: it can be auto, true or false", "when there are"),
        ({"sft": {"base": "x"}}, ConfigError, "round desk: sft: 'base' is set by the round itself", "Leave it out."),
        ({"evaluate": {"max_token": 1}}, ConfigError, "evaluate: unknown key 'max_token'", "'max_tokens'"),
        ({"evaluate": {"max_tokens": 0}}, ConfigError, "evaluate: max_tokens: Input should be", "longest answer"),
        ({"alias": "prod"}, StoreError, "is 'prod' yet", "honed promote MODEL --alias prod"),
        ({"name": "live"}, ConfigError, "'live' is an alias", "another name"),
        ({"data": "bils"}, StoreError, "there is no dataset 'bils'", "'bills'"),
        ({"suites": [{"data": "bils"}]}, StoreError, "there is no dataset 'bils'", "'bills'"),
        ({"suites": [{"data": "bills"}, {"data": "bills@v1"}]}, ConfigError, "'bills' is there twice", "once"),
        ({"database": "postgresql://me:secret@host/db"}, ConfigError, "no password may stand there", "database: $NAME"),
        ({"database": "postgresql://me@host/db?password=secret"}, ConfigError, "no password may stand there", "$NAME"),
        ({"database": "zebra"}, ConfigError, "database: not a URL", "postgresql://"),
        ({"database": "$NO_SUCH_NAME"}, ConfigError, "database: NO_SUCH_NAME isn't set", "Set NO_SUCH_NAME"),
    ],
)
def test_a_wrong_setting_is_told_before_a_job_is_made(
    quick: Workspace, values: dict[str, object], error: type[Exception], message: str, hint: str
) -> None:
    with pytest.raises(error) as raised:
        start(quick, **values)
    assert message in raised.value.message and hint in raised.value.hint  # type: ignore[attr-defined]
    assert "secret" not in str(raised.value)
    assert jobs.listing(quick) == []
