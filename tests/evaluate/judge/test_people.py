"""What people say: blind, kept at once, read back; and the files that are labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from honed.errors import DataError, RequestError
from honed.evaluate.judge import labels, outcome, people, words
from honed.evaluate.judge.answers import Pair
from honed.evaluate.judge.ballots import Ballots, Choice
from honed.evaluate.judge.config import JudgeConfig
from honed.evaluate.judge.outcome import People
from honed.jobs.job import Job
from honed.records import Message
from honed.store.workspace import Workspace
from tests.evaluate.judge import made

SIDES: dict[bool, Choice] = {True: "left", False: "right"}


def pair(number: int) -> Pair:
    prompt = (Message(role="user", content=f"Question {number}?"),)
    return Pair(id=str(number), prompt=prompt, tags={"task": "t"}, base=f"plain {number}", tuned=f"good {number}")


@pytest.fixture
def ballots(tmp_path: Path) -> Ballots:
    return Ballots([pair(number) for number in range(20)], tmp_path / "labels.jsonl", seed=1)


def test_sides_are_mixed_for_each_rater_and_stay_as_they_are(ballots: Ballots) -> None:
    seen: dict[str, list[bool]] = {"ada": [], "bo": []}
    for rater, lefts in seen.items():
        for _ in range(20):
            shown = ballots.at(rater).shown
            assert shown is not None
            assert shown == ballots.at(rater).shown
            lefts.append(shown.left.startswith("good"))
            ballots.take(rater, shown.pair, "tie", 1)
        assert 3 < sum(lefts) < 17
        assert ballots.at(rater).shown is None
    assert seen["ada"] != seen["bo"]


def test_a_label_is_on_the_disk_at_once_and_names_who_was_meant(ballots: Ballots, tmp_path: Path) -> None:
    shown = ballots.at("ada").shown
    assert shown is not None
    ballots.take("ada", shown.pair, SIDES[shown.left.startswith("good")], 3.21)
    (label,) = labels.kept(tmp_path / "labels.jsonl")
    assert (label.choice, label.rater, label.seconds, label.id) == ("tuned", "ada", 3.2, shown.pair)
    assert label.first == ("tuned" if shown.left.startswith("good") else "base")


def test_a_restart_goes_on_after_a_torn_line(ballots: Ballots, tmp_path: Path) -> None:
    for _ in range(3):
        shown = ballots.at("ada").shown
        assert shown is not None
        ballots.take("ada", shown.pair, "left", 1)
    path = tmp_path / "labels.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    again = Ballots([pair(number) for number in range(20)], path, seed=1)
    assert again.at("ada").done == 2
    assert again.at("ada").shown == shown, "the torn one is asked again"
    again.take("ada", shown.pair, "right", 1)
    assert len(labels.kept(path)) == 3


def test_a_mind_can_be_changed_and_the_last_word_counts(ballots: Ballots, tmp_path: Path) -> None:
    shown = ballots.at("ada").shown
    assert shown is not None
    ballots.take("ada", shown.pair, "left", 1)
    before = ballots.before("ada").shown
    assert before is not None
    assert (before.pair, before.said) == (shown.pair, "left")
    ballots.take("ada", shown.pair, "right", 1)
    kept = labels.kept(tmp_path / "labels.jsonl")
    assert len(kept) == 2
    assert labels.newest(kept) == [kept[1]]
    assert ballots.at("ada").done == 1


@pytest.mark.parametrize("rater", ["", " ", "a" * 41, "<b>", "a/b", "../x", "a\nb"])
def test_a_name_that_is_none_is_refused(ballots: Ballots, rater: str) -> None:
    with pytest.raises(RequestError, match="1 to 40 letters"):
        ballots.at(rater)


def test_a_pair_that_is_not_there_is_refused(ballots: Ballots) -> None:
    with pytest.raises(RequestError, match="no such pair"):
        ballots.take("ada", "nothing", "left", 1)


def judged(workspace: Workspace, tmp_path: Path) -> tuple[Job, People]:
    base = made.answers(tmp_path / "base.jsonl", {f"Question {n}?": f"plain {n}" for n in range(20)} | {"Same?": "x"})
    tuned = made.answers(tmp_path / "tuned.jsonl", {f"Question {n}?": f"good {n}" for n in range(20)} | {"Same?": "x"})
    settings = JudgeConfig(answers=(base, tuned), people=True)
    job = people.opened(workspace, settings)
    assert people.opened(workspace, settings).path == job.path, "the same command goes on with the same job"
    with people.at_work(job):
        box = people.ballots(job, settings)
        for rater, wrong in (("ada", 5), ("bo", 3)):
            for number in range(20):
                shown = box.at(rater).shown
                assert shown is not None
                good = shown.left.startswith("good")
                choice = "skip" if number == 1 else SIDES[good == (number % wrong != 0)]
                box.take(rater, shown.pair, choice, 2)
        found = people.finish(job, settings)
    return job, found


def test_a_comparison_by_people_has_a_win_rate_and_says_how_far_they_agree(
    workspace: Workspace, tmp_path: Path
) -> None:
    job, found = judged(workspace, tmp_path)
    assert (found.labels, found.skipped, found.same, found.raters) == (38, 2, 1, {"ada": 19, "bo": 19})
    assert found.overall is not None
    assert (found.overall.won, found.overall.lost, found.overall.families) == (27, 11, 19)
    assert found.among is not None
    assert found.among.alpha is not None
    assert -0.2 < found.among.alpha < 0.7
    assert found.left is not None
    assert job.status().state == "done"
    assert outcome.result(job.result()) == found
    assert words.headline(found).startswith("People prefer the tuned model in 71")


def test_peoples_labels_are_what_agreement_takes(workspace: Workspace, tmp_path: Path) -> None:
    job, _ = judged(workspace, tmp_path)
    labelled, raters = labels.chosen(job.path / labels.FILE, None, 0)
    assert (len(labelled), raters) == (19, 2)
    assert {len(one.said) for one in labelled} == {2}
    assert {one.choice for one in labelled if len(set(one.said)) == 2} == {"tie"}


def test_every_line_that_is_no_label_is_named(tmp_path: Path) -> None:
    good = {"prompt": "Q?", "base": "a", "tuned": "b", "choice": "tie", "more": 1}
    bad = [{**good, "choice": "left"}, {"prompt": "Q?", "tuned": "b", "choice": "tie"}, [1]]
    path = tmp_path / "labels.jsonl"
    path.write_text("\n".join(map(json.dumps, [good, *bad])) + "\n{\n")
    with pytest.raises(DataError) as error:
        labels.read(path)
    assert "2: choice: input should be 'base', 'tuned', 'tie' or 'skip'" in error.value.message
    assert "3: base: field required" in error.value.message
    assert "4: line: not a JSON object" in error.value.message
    path.write_text(json.dumps({**good, "choice": "skip"}))
    with pytest.raises(DataError, match="there are no choices"):
        labels.read(path)
    with pytest.raises(DataError, match="can't be read"):
        labels.read(tmp_path / "nowhere.jsonl")
