"""Pairing two evaluations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from honed.builtin.load import load
from honed.errors import DataError, JobError
from honed.evaluate import compare, details, report, stats, words
from honed.evaluate.compare import Evaluation
from honed.evaluate.config import EvaluateConfig
from honed.jobs import job as jobs
from honed.records import Conversation
from honed.store.workspace import Workspace
from tests.evaluate.planted import as_job, evaluation

ROWS = load("heldout")[:140]
TAGS = {"region": "south"}


@pytest.fixture(scope="module")
def base() -> Evaluation:
    return evaluation(ROWS, 0.2, name="base", seed=1)


@pytest.fixture(scope="module")
def tuned() -> Evaluation:
    return evaluation(ROWS, 0.7, name="tuned", seed=2)


def test_counts_add_up_and_match_the_answers(base: Evaluation, tuned: Evaluation) -> None:
    whole = compare.compare(base, tuned).overall
    assert whole is not None
    assert whole.n == 140 == whole.both + whole.won + whole.lost + whole.neither
    assert whole.base.passed == sum(bool(answer.passed) for answer in base.answers.values())
    assert whole.tuned.passed == sum(bool(answer.passed) for answer in tuned.answers.values())
    assert whole.difference == pytest.approx(whole.tuned.rate - whole.base.rate)
    assert whole.p_value == stats.mcnemar(whole.won, whole.lost) < 0.001
    assert whole.verdict == "better"


def test_every_tag_splits_all_rows(base: Evaluation, tuned: Evaluation) -> None:
    found = compare.compare(base, tuned)
    whole = found.overall
    assert whole is not None
    for tag in ("task", "audience", "benefit"):
        cells = found.segments[tag]
        assert sum(cell.n for cell in cells) == whole.n
        assert sum(cell.won for cell in cells) == whole.won
        assert sum(cell.floors["constant"].passed for cell in cells) == whole.floors["constant"].passed
        assert all(cell.p_adjusted >= cell.p_value for cell in cells)
    assert len(found.segments["task"]) == 7


def test_swapping_the_models_turns_everything_round(base: Evaluation, tuned: Evaluation) -> None:
    one, other = compare.compare(base, tuned), compare.compare(tuned, base)
    assert one.overall is not None
    assert other.overall is not None
    assert (one.overall.won, one.overall.lost) == (other.overall.lost, other.overall.won)
    assert one.overall.interval == pytest.approx((-other.overall.interval.high, -other.overall.interval.low))
    assert other.overall.verdict == "worse"
    assert one.loss is not None
    assert other.loss is not None
    assert one.loss.difference == pytest.approx(-other.loss.difference)


def test_a_model_against_itself_shows_nothing(base: Evaluation) -> None:
    found = compare.compare(base, base)
    assert found.overall is not None
    assert found.overall.verdict == "not worse"  # the same 140 verdicts rule out a fall of five points
    assert found.overall.p_value == 1
    assert {cell.verdict for cells in found.segments.values() for cell in cells} == {"not shown"}
    assert "No difference is shown" in " ".join(words.verdicts(found))


def test_the_audience_that_gained_least_is_named(base: Evaluation, tuned: Evaluation) -> None:
    found = compare.compare(base, tuned)
    least = found.least_gain
    assert least is not None
    assert least.difference == min(cell.difference for cell in found.segments["audience"])
    assert words.plain(least.name) in " ".join(words.verdicts(found))


def test_an_audience_that_fell_is_said_to_have_fallen(base: Evaluation, tuned: Evaluation) -> None:
    found = compare.compare(tuned, base)
    assert "It fell." in " ".join(words.verdicts(found))


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"data_hash": "0" * 64, "data": "company@v2"}, "company@v1"),
        ({"split": "train"}, "heldout and train"),
        ({"max_tokens": 64}, "256 and 64"),
    ],
)
def test_evaluations_of_other_rows_are_refused_and_the_difference_named(
    base: Evaluation, changed: dict[str, object], named: str
) -> None:
    other = evaluation(ROWS, 0.7, name="tuned", **changed)
    with pytest.raises(DataError, match=named):
        compare.compare(base, other)


def test_another_number_of_rows_is_refused(base: Evaluation) -> None:
    with pytest.raises(DataError, match="rows 140 and 100"):
        compare.compare(base, evaluation(ROWS[:100], 0.7, name="tuned"))


def test_as_many_but_other_rows_are_refused(base: Evaluation) -> None:
    with pytest.raises(DataError, match="2 answered rows are in one of the two only"):
        compare.compare(base, evaluation([*ROWS[:-1], load("heldout")[-1]], 0.7, name="tuned"))


def test_the_same_content_under_another_name_is_paired(base: Evaluation) -> None:
    assert compare.compare(base, evaluation(ROWS, 0.7, name="tuned", data="copy@v9")).overall is not None


def test_losses_of_another_chat_template_are_not_compared_and_that_is_said(base: Evaluation) -> None:
    found = compare.compare(base, evaluation(ROWS, 0.7, name="tuned", template_hash="f" * 16))
    assert found.loss is None
    assert "can't be compared" in found.notes[0]


def test_another_precision_is_said(base: Evaluation) -> None:
    found = compare.compare(base, evaluation(ROWS, 0.7, name="tuned", precision="bf16"))
    assert "fp32 on cpu and bf16 on cpu" in found.notes[0]


def test_rows_without_verifiers_compare_by_loss_alone() -> None:
    rows = [Conversation(messages=row.messages, tags=row.tags) for row in ROWS[:30]]
    found = compare.compare(evaluation(rows, 0.2, name="base"), evaluation(rows, 0.9, name="tuned"))
    assert found.overall is None
    assert found.floors is None
    assert found.loss is not None
    assert found.loss.interval.low <= found.loss.difference <= found.loss.interval.high < 0
    assert words.headline(found).startswith("Held-out loss fell from")
    assert words.headline(found).endswith("nothing is said of pass rates.")


def test_a_loss_is_weighted_by_tokens_not_by_rows(base: Evaluation, tuned: Evaluation) -> None:
    loss = compare.compare(base, tuned).loss
    assert loss is not None
    assert base.outcome.loss is not None
    assert loss.base == pytest.approx(base.outcome.loss)


def test_finished_jobs_are_read_back_as_they_were(workspace: Workspace, base: Evaluation) -> None:
    found = compare.read(as_job(workspace, base))
    assert found.outcome == base.outcome
    assert found.answers == base.answers
    assert found.losses == base.losses


def test_a_job_of_another_stage_is_refused(workspace: Workspace) -> None:
    job = jobs.create(workspace, "train", EvaluateConfig(model="m", data="d"))
    with pytest.raises(JobError, match=r"is no evaluation but train"):
        compare.read(job)


def test_an_unfinished_evaluation_is_refused(workspace: Workspace) -> None:
    job = jobs.create(workspace, "evaluate", EvaluateConfig(model="m", data="d"))
    with pytest.raises(JobError, match="has no result"):
        compare.read(job)


def test_groups_have_their_change_of_loss_of_value_and_of_whole_families(tmp_path: Path) -> None:
    def tags(at: int) -> dict[str, str]:
        return {"region": "south" if at < 40 else "north" if at < 80 else "west", "family": str(at // 2)}

    rows = [row.model_copy(update={"tags": tags(at)}) for at, row in enumerate(load("heldout")[:84])]
    one, two = (valued(evaluation(rows, skill, name=f"m{skill}", seed=seed)) for skill, seed in ((0.2, 1), (0.8, 2)))
    found = compare.compare(one, two, ["region"])
    assert found.details["region"].keys() == {"north", "south"}, "a small group has its size only"
    south = found.details["region"]["south"]
    ids = [row.id for row in rows[:40]]
    assert south.loss is not None and south.graded is not None and south.together is not None
    assert south.loss.base == pytest.approx(
        sum(one.losses[row].nats for row in ids) / sum(one.losses[row].tokens for row in ids)
    )
    assert (south.loss.rows, south.graded.n, south.together.n) == (40, 40, 20)
    assert south.together.tuned.passed == sum(
        all(two.answers[row.id].passed for row in rows[at : at + 2]) for at in range(0, 40, 2)
    )
    said = {(line.tag, line.name, line.measure) for line in details.lines(found)}
    assert said == {
        (tag, name, measure)
        for tag, name in (("", "all rows"), ("region", "north"), ("region", "south"))
        for measure in ("loss", "value", "whole families")
    }
    report.write(tmp_path, found, (one, two), stages={}, next_commands=[])
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text()
        assert "What else changed" in text and "region: south" in text and "Wilcoxon" in text


def test_groups_of_rows_that_nobody_answered_are_compared_by_their_loss() -> None:
    rows = [Conversation(messages=row.messages, tags=TAGS) for row in load("heldout")[:20]]
    one, two = (evaluation(rows, skill, name=f"m{skill}") for skill in (0.2, 0.8))
    one, two = (
        replace(made, answers={}, losses={row: line.model_copy(update={"tags": TAGS}) for row, line in lines.items()})
        for made, lines in ((one, one.losses), (two, two.losses))
    )
    found = compare.compare(one, two, ["region"])
    assert found.overall is None and found.details["region"]["south"].loss is not None
    assert ("region", "south", "loss") in [line[:3] for line in details.lines(found)]
    assert "by Wilcoxon's test" in words.headline(found)


def valued(made: Evaluation) -> Evaluation:
    """The evaluation with a grade for each answer: 1 where it passes, else 0."""
    answers = {row: one.model_copy(update={"value": float(bool(one.passed))}) for row, one in made.answers.items()}
    return replace(made, answers=answers)
