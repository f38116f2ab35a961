"""The benefits table: counted by hand, named falls, and the same numbers on every face."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from honed.builtin.load import load
from honed.cli.compare import benefits_table
from honed.evaluate import compare, gains, graded, reliable, report, stats, words
from honed.evaluate.benefits import Benefit
from honed.evaluate.compare import Comparison, Evaluation
from honed.evaluate.graded import Values
from honed.evaluate.suites import chosen
from tests.evaluate.planted import evaluation

ROWS = [row.conversation for row in chosen.read(["precision", "paraphrases", "twins", "knowledge"]).rows]
SKILLS = dict.fromkeys({row.tags["task"] for row in ROWS}, 0.6)


@pytest.fixture(scope="module")
def base() -> Evaluation:
    return evaluation(ROWS, SKILLS, name="base", seed=1)


@pytest.fixture(scope="module")
def tuned() -> Evaluation:
    fell = {**SKILLS, "arithmetic": 0.1, "read_fields": 1.0, "read_copy": 1.0, "read_label": 1.0, "read_number": 1.0}
    return evaluation(ROWS, fell, name="tuned", seed=2)


@pytest.fixture(scope="module")
def compared(base: Evaluation, tuned: Evaluation) -> Comparison:
    return compare.compare(base, tuned)


def line(compared: Comparison, name: str) -> Benefit:
    assert compared.benefits is not None
    return next(line for line in compared.benefits.lines if line.name == name)


def test_each_benefit_counts_its_rows_and_those_of_its_tasks(compared: Comparison, tuned: Evaluation) -> None:
    assert compared.benefits is not None
    assert [one.name for one in compared.benefits.lines] == ["precision", "misinterpretation", "forgetting"]
    for one in compared.benefits.lines:
        assert one.whole.n == sum(task.n for task in one.tasks)
        passed = [bool(row.passed) for row in tuned.answers.values() if row.tags["benefit"] == one.name]
        assert (one.whole.tuned.passed, one.whole.n) == (sum(passed), len(passed))
        assert one.whole.p_adjusted >= one.whole.p_value
    assert line(compared, "precision").whole.verdict == "better"


def test_a_family_is_reliable_if_all_its_rows_are_right(compared: Comparison, base: Evaluation) -> None:
    found = {one.name: one for one in line(compared, "misinterpretation").together}
    assert set(found) == {"paraphrases: reliable@4", "twins: reliable@2"}
    families: dict[str, list[bool]] = {}
    for answer in base.answers.values():
        if answer.tags["suite"] == "paraphrases":
            families.setdefault(answer.tags["family"], []).append(bool(answer.passed))
    whole = found["paraphrases: reliable@4"]
    assert (whole.n, whole.base.passed) == (24, sum(map(all, families.values())))
    alone = reliable.reliable(base.answers.values())["paraphrases"]
    assert (alone.k, alone.whole, alone.rows) == (4, whole.base, 96)
    assert alone.mean == sum(map(sum, families.values())) / 96
    assert alone.interval == stats.bootstrap([sum(rows) for rows in families.values()], [4] * 24)
    assert alone.whole.rate < alone.mean


def test_what_was_forgotten_is_counted_and_named(compared: Comparison, base: Evaluation, tuned: Evaluation) -> None:
    assert compared.benefits is not None and compared.benefits.forgotten is not None
    found = compared.benefits.forgotten
    lost = {
        row
        for row, answer in base.answers.items()
        if answer.tags["benefit"] == "forgetting" and answer.passed and not tuned.answers[row].passed
    }
    assert set(found.rows) == lost
    assert sum(found.lost.values()) == len(lost)
    assert found.shown == ("arithmetic",)
    said = " ".join(gains.sentences(compared.benefits))
    assert f"Forgotten: {len(lost)} answers that the base model had right are wrong now (arithmetic " in said
    assert "A fall is shown in arithmetic." in said


def test_what_was_forgotten_counts_no_task_of_too_few_rows() -> None:
    rows = [row for row in ROWS if row.tags["benefit"] == "forgetting"]
    few = [row for row in rows if row.tags["task"] == "arithmetic"][:4]
    rows = [*few, *(row for row in rows if row.tags["task"] != "arithmetic")]
    skills = dict.fromkeys({row.tags["task"] for row in rows}, 1.0)
    found = compare.compare(evaluation(rows, skills, name="a"), evaluation(rows, 0.0, name="b")).benefits
    assert found is not None and found.forgotten is not None
    assert found.forgotten.lost and "arithmetic" not in found.forgotten.lost
    assert not set(found.forgotten.rows) & {row.id for row in few}


def test_nothing_is_forgotten_by_a_model_against_itself(base: Evaluation) -> None:
    same = compare.compare(base, base).benefits
    assert same is not None
    assert "Forgotten: nothing that the base model could do is failed now." in gains.sentences(same)
    assert "No difference is shown in precision, misinterpretation, forgetting." in gains.sentences(same)


def test_graded_answers_have_a_mean_and_a_paired_change(compared: Comparison, base: Evaluation) -> None:
    alone = graded.graded(base.answers.values())
    change = compared.graded
    assert alone is not None and change is not None
    assert (alone.n, alone.mean) == (21, change.base)  # the fields of precision alone are graded
    assert alone.interval.low <= alone.mean <= alone.interval.high
    assert change.difference == pytest.approx(change.tuned - change.base)
    assert line(compared, "precision").graded == change
    assert line(compared, "forgetting").graded is None


def test_the_change_of_values_counts_families_not_rows() -> None:
    rows = [Values(0.0, 1.0, f"family-{place // 5}") for place in range(20)]
    change = graded.change(rows)
    alone = graded.change([row._replace(family=str(place)) for place, row in enumerate(rows)])
    assert change is not None and alone is not None
    assert change.p_value == pytest.approx(2 / 2**4, abs=0.02)
    assert alone.p_value < 0.001
    assert graded.change([]) is None


def test_style_is_measured_by_audience() -> None:
    rows = [row.conversation for row in chosen.read(["audience"]).rows]
    texts = {"child": "You see it. It is fun!", "expert": "Atmospheric molecules scatter electromagnetic radiation."}
    ideal = [row.model_copy(update={"messages": (*row.prompt, row.messages[-1].model_copy(update={"content": text}))})
             for row in rows if (text := texts.get(row.tags["audience"]))]  # fmt: skip
    one = evaluation(ideal, 1.0, name="one")
    found = compare.compare(one, one).benefits
    assert found is not None
    styles = {style.audience: style for style in found.styles}
    assert styles["child"].base_grade < 2 < 15 < styles["expert"].tuned_grade
    assert (styles["child"].n, styles["child"].base_words) == (20, 6)


def test_rows_of_no_suite_have_no_table() -> None:
    made = evaluation(load("heldout")[:30], 0.5, name="base")
    assert compare.compare(made, made).benefits is None


def test_the_table_is_the_same_on_every_face(
    compared: Comparison, base: Evaluation, tuned: Evaluation, tmp_path: Path
) -> None:
    assert compared.benefits is not None
    page = report.write(
        tmp_path,
        compared,
        (base, tuned),
        stages=report.stages_of(compared),
        next_commands=["honed jobs list"],
    )
    console = Console(file=io.StringIO(), width=100)
    console.print(benefits_table(compared.benefits))
    terminal = console.file.getvalue()  # type: ignore[attr-defined]
    markdown, html = (tmp_path / "report.md").read_text(), page.read_text()
    for shown in gains.lines(compared.benefits):
        p_value = shown.p_value.replace("<", "\\<").replace(words.GAP, " ")
        assert f"{shown.change} | {p_value} |" in markdown
        assert f"<td>{shown.change}</td>" in html
        assert shown.change in terminal
    for text in (terminal, markdown, html):
        assert "Forgotten" in text and "reliable@4" in text


def test_another_scorer_is_another_question(base: Evaluation) -> None:
    other = Evaluation(base.job, base.outcome.model_copy(update={"scorer": "rouge"}), base.answers, base.losses)
    with pytest.raises(compare.DataError, match="scorer none and rouge"):
        compare.compare(base, other)
