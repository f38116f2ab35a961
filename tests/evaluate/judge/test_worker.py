"""Judging from end to end, against a stand-in on loopback whose faults are known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from honed.builtin.load import load
from honed.errors import DataError, EndpointError
from honed.evaluate.judge import outcome, page, pairwise, rubric, words, worker
from honed.evaluate.judge.asking import FILE
from honed.evaluate.judge.outcome import Measured, Pairwise, Rubric
from honed.store.workspace import Workspace
from tests.evaluate.judge import made
from tests.evaluate.judge.standin import Seen, longer, serving, verdict
from tests.evaluate.planted import as_job, evaluation
from tests.loopback import Answer

N = 12
BASE = {f"Question {n}?": f"The answer is {n}." for n in range(N)}
TUNED = {f"Question {n}?": f"{n}, and that is certain." for n in range(N)}


@pytest.fixture
def given(tmp_path: Path) -> tuple[str, str]:
    return made.answers(tmp_path / "base.jsonl", BASE), made.answers(tmp_path / "tuned.jsonl", TUNED)


def prefers_tuned(_: int, seen: Seen) -> str:
    return verdict("A" if "certain" in seen.first else "B")


def compared(workspace: Workspace, given: tuple[str, ...], url: str, **more: Any) -> Pairwise:
    found = made.done(made.job_of(workspace, answers=given, endpoint=made.endpoint(url), **more))
    assert isinstance(found, Pairwise)
    return found


def test_a_judge_that_always_prefers_the_first_answer_gives_ties_and_its_bias_is_said(
    workspace: Workspace, given: tuple[str, str]
) -> None:
    with serving(lambda *_: verdict("A")) as judge:
        found = compared(workspace, given, judge.url)
    assert found.overall is not None
    assert (found.overall.won, found.overall.tied, found.overall.lost) == (0, N, 0)
    assert (found.overall.win_rate, found.overall.verdict) == (0.5, "not shown")
    assert found.order.first is not None
    assert found.order.consistent is not None
    assert (found.order.first.rate, found.order.consistent.rate) == (1, 0)
    assert any("the judge's bias" in line for line in words.details(found))


def test_a_judge_that_prefers_the_tuned_model_in_both_orders_is_counted_so(
    workspace: Workspace, given: tuple[str, str]
) -> None:
    with serving(prefers_tuned) as judge:
        found = compared(workspace, given, judge.url)
        assert len(judge.asked) == 2 * N
    assert found.overall is not None
    assert (found.overall.won, found.overall.verdict) == (N, "better")
    assert found.overall.interval.low > 0.8, "never of zero width, and far from one half"
    assert found.trust.state == "not measured"
    assert words.details(found)[0].startswith("Only indicative")


def test_a_length_biased_judge_is_corrected_where_the_truth_is_known(workspace: Workspace, tmp_path: Path) -> None:
    """Answers are equally good; the judge prefers the longer one with a chance that grows with the difference."""
    gaps = np.random.default_rng(5).normal(45, 40, 100).astype(int)
    lengths = {f"Question {n}?": int(gap) for n, gap in enumerate(gaps)}
    base = made.answers(tmp_path / "base.jsonl", dict.fromkeys(lengths, "b" * 200))
    tuned = made.answers(tmp_path / "tuned.jsonl", {one: "t" * (200 + gap) for one, gap in lengths.items()})
    wins, due = {}, 0.5
    for one in sorted(lengths, key=lengths.__getitem__):  # as many wins as are due, without luck
        due += float(expit(1.5 * np.tanh(lengths[one] / gaps.std())))
        wins[one] = due >= 1
        due -= wins[one]

    def judging(_: int, seen: Seen) -> str:
        won = wins[seen.prompt.removeprefix("user: ")]
        return verdict("A" if (seen.first[0] == "t") == won else "B")

    with serving(judging) as judge:
        found = compared(workspace, (base, tuned), judge.url)
    assert found.overall is not None
    assert found.length_controlled is not None
    assert found.overall.interval.low > 0.5, "judged raw, the tuned model seems better"
    low, high = found.length_controlled.interval
    assert low < 0.5 < high
    assert abs(found.length_controlled.win_rate - 0.5) < 0.1
    assert found.length_controlled.effect_interval.low > 0


def test_a_reply_that_ended_inside_its_reasoning_is_not_asked_for_again_and_says_what_to_raise(
    workspace: Workspace, given: tuple[str, str]
) -> None:
    def judging(number: int, seen: Seen) -> str | Answer:
        cut = Answer("", reasoning="Let me see", finish="length")
        return cut if "Question 3?" in seen.prompt else prefers_tuned(number, seen)

    with serving(judging) as judge:
        job = made.job_of(workspace, answers=given, endpoint=made.endpoint(judge.url))
        found = made.done(job)
        assert len(judge.asked) == 2 * N
    assert isinstance(found, Pairwise) and found.unusable == 1
    lines = [json.loads(line) for line in (job.path / pairwise.VERDICTS).read_text().splitlines()]
    (lost,) = [line for line in lines if line["choice"] is None]
    assert "inside its reasoning: raise max_tokens" in lost["why"]


def test_prose_is_asked_again_for_the_form_once_and_then_unusable_with_its_text_kept(
    workspace: Workspace, given: tuple[str, str]
) -> None:
    def judging(number: int, seen: Seen) -> str:
        if "Question 3?" in seen.prompt:
            return "I find answer A better, or maybe B."
        if "Question 4?" in seen.prompt and not seen.again:
            return "Answer A it is."
        return prefers_tuned(number, seen)

    job = None
    with serving(judging) as judge:
        job = made.job_of(workspace, answers=given, endpoint=made.endpoint(judge.url))
        found = made.done(job)
        assert len(judge.asked) == 2 * N + 4
    assert isinstance(found, Pairwise)
    assert found.overall is not None
    assert (found.overall.n, found.unusable) == (N - 1, 1), "the one that was mended counts, the other doesn't"
    assert (found.usage.again, found.usage.unusable) == (4, 2)
    kept = [json.loads(line) for line in (job.path / FILE).read_text().splitlines()]
    assert sum("maybe B" in line["text"] for line in kept) == 4
    lines = [json.loads(line) for line in (job.path / pairwise.VERDICTS).read_text().splitlines()]
    (lost,) = [line for line in lines if line["choice"] is None]
    assert "there is no JSON object with a verdict" in lost["why"]


def test_an_endpoint_that_refuses_every_question_fails_the_job_which_asks_them_again_when_resumed(
    workspace: Workspace, given: tuple[str, str]
) -> None:
    refuses = [True]

    def judging(number: int, seen: Seen) -> str | int:
        return 400 if refuses[0] else prefers_tuned(number, seen)

    with serving(judging) as judge:
        job = made.job_of(workspace, answers=given, endpoint=made.endpoint(judge.url))
        with pytest.raises(EndpointError, match="answers 400"):
            worker.work(job, lambda: False)
        assert not (job.path / FILE).exists() or not (job.path / FILE).read_text()
        refuses[0] = False
        found = made.done(job)
    assert isinstance(found, Pairwise) and found.overall is not None
    assert (found.overall.won, found.unusable) == (N, 0)


def test_a_question_that_is_refused_beside_others_that_are_answered_is_unusable_alone(
    workspace: Workspace, given: tuple[str, str]
) -> None:
    def judging(number: int, seen: Seen) -> str | int:
        return 400 if "Question 5?" in seen.prompt else prefers_tuned(number, seen)

    with serving(judging) as judge:
        found = compared(workspace, given, judge.url)
    assert found.overall is not None and (found.overall.n, found.unusable) == (N - 1, 1)


def test_answers_that_changed_between_two_attempts_are_asked_about_anew(
    workspace: Workspace, given: tuple[str, str], tmp_path: Path
) -> None:
    with serving(prefers_tuned) as judge:
        job = made.job_of(workspace, answers=given, endpoint=made.endpoint(judge.url))
        made.done(job)
        before = len(judge.asked)
        made.answers(tmp_path / "tuned.jsonl", {**TUNED, "Question 0?": "0, and that is certain too."})
        found = made.done(job)
        assert len(judge.asked) == before + 2
    assert isinstance(found, Pairwise) and found.overall is not None and found.overall.won == N


def test_an_endpoint_that_dies_halfway_loses_nothing_and_is_gone_on_with(
    workspace: Workspace, given: tuple[str, str]
) -> None:
    alive = [False]

    def judging(number: int, seen: Seen) -> str | int:
        return prefers_tuned(number, seen) if alive[0] or number < 14 else 401

    with serving(judging) as judge:
        job = made.job_of(workspace, answers=given, endpoint=made.endpoint(judge.url))
        with pytest.raises(EndpointError):
            worker.work(job, lambda: False)
        before = len(judge.asked)
        kept = len((job.path / FILE).read_text().splitlines())
        alive[0] = True
        found = made.done(job)
        assert kept + len(judge.asked) - before <= 2 * N
    assert isinstance(found, Pairwise)
    assert found.overall is not None
    assert found.overall.won == N
    assert found.usage.resumed == kept > 5


def test_a_stopped_job_goes_on_and_a_second_one_pays_nothing(workspace: Workspace, given: tuple[str, str]) -> None:
    calls = iter(range(1000))
    with serving(prefers_tuned) as judge:
        job = made.job_of(
            workspace, answers=given, endpoint=made.endpoint(judge.url, prompt_price=1, completion_price=2)
        )
        with pytest.raises(made.Stopped):
            worker.work(job, lambda: next(calls) > 10)
        first = made.done(job)
        again = compared(workspace, given, judge.url)
        assert len(judge.asked) == 2 * N, "nothing is asked twice"
    assert isinstance(first, Pairwise)
    assert first.usage.cost == pytest.approx(2 * N * 120 / 1e6)
    assert again.usage.cached == 2 * N
    assert again.overall == first.overall
    assert any("cost" in note and "at most" in note for note in made.notes(job))


def test_same_and_empty_answers_need_no_judge(workspace: Workspace, tmp_path: Path) -> None:
    base = made.answers(tmp_path / "base.jsonl", {"one?": "same", "two?": "something", "three?": " "})
    tuned = made.answers(tmp_path / "tuned.jsonl", {"one?": "same ", "two?": "", "three?": "something"})
    with serving(lambda *_: 500) as judge:
        found = compared(workspace, (base, tuned), judge.url)
        assert judge.asked == []
    assert found.overall is not None
    assert (found.overall.won, found.overall.tied, found.overall.lost, found.unasked) == (1, 1, 1, 3)


def test_answers_without_a_common_prompt_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    base = made.answers(tmp_path / "base.jsonl", {"one?": "a"})
    tuned = made.answers(tmp_path / "tuned.jsonl", {"two?": "b"})
    with serving(longer) as judge, pytest.raises(DataError, match=r"base\.jsonl and tuned\.jsonl share no prompt"):
        compared(workspace, (base, tuned), judge.url)


def labelled(path: Path, *, wrong: int, n: int = 60) -> str:
    """Labels that prefer what holds 'certain', but for every ``wrong``-th."""
    rows: list[Mapping[str, Any]] = []
    for number in range(n):
        sure, vague = f"{number}, and that is certain.", f"Perhaps it is {number}."
        base, tuned = (sure, vague) if number % 2 else (vague, sure)
        good = "base" if number % 2 else "tuned"
        bad = "tuned" if number % 2 else "base"
        rows.append(
            {
                "prompt": f"How many, {number}?",
                "base": base,
                "tuned": tuned,
                "choice": bad if number % wrong == 0 else good,
                "rater": "ada",
            }
        )
    return made.lines(path, rows)


def test_a_judge_is_trusted_once_its_agreement_is_measured_and_good_enough(
    workspace: Workspace, given: tuple[str, str], tmp_path: Path
) -> None:
    with serving(prefers_tuned) as judge:
        measured = made.done(
            made.job_of(workspace, labels=labelled(tmp_path / "l.jsonl", wrong=10), endpoint=made.endpoint(judge.url))
        )
        found = compared(workspace, given, judge.url)
        other = compared(workspace, given, judge.url, guide="Short answers are better.")
    assert isinstance(measured, Measured)
    assert measured.choices is not None
    assert measured.choices.rate.passed == 54
    assert measured.choices.kappa == pytest.approx(0.8, abs=0.02)
    assert (measured.choices.sides["base"].n, measured.choices.sides["tuned"].n) == (36, 24)
    assert measured.trust.state == "yes"
    assert found.trust.state == "yes"
    assert found.trust.job.startswith("judge-")
    assert words.details(found)[0].startswith("The judge is trusted: kappa with people is 0.80")
    assert other.trust.state == "not measured", "another question is another judge"


def test_a_judge_that_disagrees_with_people_or_has_few_labels_is_not_trusted(
    workspace: Workspace, given: tuple[str, str], tmp_path: Path
) -> None:
    with serving(prefers_tuned) as judge:
        for path, wrong, n, why in (("a", 2, 60, "not shown to be 0.4"), ("b", 99, 12, "12 labelled pairs")):
            labels = labelled(tmp_path / path, wrong=wrong, n=n)
            made.done(made.job_of(workspace, labels=labels, endpoint=made.endpoint(judge.url)))
            found = compared(workspace, given, judge.url)
            assert found.trust.state == "no"
            assert why in words.details(found)[0]


def scoring(_: int, seen: Seen) -> str:
    return json.dumps({"scores": {"right": 5 if "certain" in seen.first else 2, "clear": 4}, "reason": "So."})


CRITERIA = {"right": "Is it correct?", "clear": "Is it clear?"}


def test_a_rubric_scores_both_models_and_pairs_them(workspace: Workspace, given: tuple[str, str]) -> None:
    with serving(scoring) as judge:
        job = made.job_of(workspace, answers=given, criteria=CRITERIA, endpoint=made.endpoint(judge.url))
        found = made.done(job)
    assert isinstance(found, Rubric)
    base, tuned = found.sides
    assert (base.means["right"].mean, tuned.means["right"].mean) == (2, 5)
    assert tuned.means["right"].counts == (0, 0, 0, 0, N)
    assert (found.changes["right"].difference, found.changes["right"].verdict) == (3, "better")
    assert found.changes["clear"].verdict == "not shown"
    assert len((job.path / rubric.SCORES).read_text().splitlines()) == 2 * N
    assert "Tuned minus base" in (job.path / page.HTML).read_text()


def test_a_rubrics_judge_is_measured_on_peoples_scores(
    workspace: Workspace, given: tuple[str, str], tmp_path: Path
) -> None:
    rows = [
        {
            "prompt": f"What, {n}?",
            "response": "certain" if n % 2 else "perhaps",
            "scores": {"right": 5 if n % 2 else 2, "clear": 3 + n % 3},
            "rater": "bo",
        }
        for n in range(40)
    ]
    with serving(scoring) as judge:
        asked = {"criteria": CRITERIA, "endpoint": made.endpoint(judge.url)}
        measured = made.done(made.job_of(workspace, labels=made.lines(tmp_path / "s.jsonl", rows), **asked))
        found = made.done(made.job_of(workspace, answers=given[1:], **asked))
    assert isinstance(measured, Measured)
    assert measured.scores is not None
    assert measured.scores.criteria["right"].kappa == 1
    assert measured.scores.criteria["clear"].kappa == 0
    assert isinstance(found, Rubric)
    assert (found.trust.state, found.trust.scores) == ("no", measured.scores)
    assert "of clear it isn't" in found.trust.why


def test_the_page_escapes_what_answers_and_judges_say(workspace: Workspace, tmp_path: Path) -> None:
    markup = "<script>alert(1)</script>"
    base = made.answers(tmp_path / "base.jsonl", {markup: f"{markup} base"})
    tuned = made.answers(tmp_path / "tuned.jsonl", {markup: f"{markup} tuned"})
    with serving(lambda *_: verdict("tie", markup)) as judge:
        job = made.job_of(workspace, answers=(base, tuned), endpoint=made.endpoint(judge.url))
        found = outcome.result(made.done(job).model_dump(mode="json"))
    html = (job.path / page.HTML).read_text()
    assert markup not in html
    assert html.count("&lt;script&gt;") >= 4
    assert "Only indicative" in html
    assert isinstance(found, Pairwise)


def test_verdicts_are_given_by_a_file_of_segments(workspace: Workspace, tmp_path: Path) -> None:
    rows = load("heldout")[:24]
    jobs = tuple(as_job(workspace, evaluation(rows, skill, name=f"m{skill}", seed=2)).id for skill in (0.1, 0.9))
    rules = tmp_path / "segments.yaml"
    wanted = rows[0].tags["audience"]
    rules.write_text(f"segments: [{{name: mine, where: {{audience: {wanted}}}}}]\n")
    with serving(lambda *_: verdict("A")) as judge:
        job = made.job_of(workspace, answers=jobs, endpoint=made.endpoint(judge.url), segments=(str(rules),))
        rules.unlink()  # the job has them
        found = made.done(job)
    assert isinstance(found, Pairwise)
    sizes = {one.name: one.n for one in found.groups["segment"].contests} | dict(found.groups["segment"].small)
    assert sizes == {"mine": sum(row.tags["audience"] == wanted for row in rows)}
