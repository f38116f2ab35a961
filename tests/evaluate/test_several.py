"""Three evaluations and more: each against the first, ranks, groups, and the commands that show them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from honed.builtin.load import load
from honed.cli import several_table
from honed.cli.main import run
from honed.errors import DataError
from honed.evaluate import compare, report_several, several, words
from honed.evaluate.compare import Evaluation
from honed.evaluate.suites import chosen
from honed.records import Conversation
from honed.store.workspace import Workspace
from tests.evaluate.planted import as_job, evaluation, repeated

ROWS = load("heldout")[:140]


@pytest.fixture(scope="module")
def made() -> list[Evaluation]:
    skills = {"base": 0.2, "good": 0.8, "same": 0.2, "fair": 0.5}
    return [evaluation(ROWS, skill, name=name, seed=3) for name, skill in skills.items()]


def test_every_model_is_compared_with_the_first_in_the_knowledge_of_how_many_there_are(made: list[Evaluation]) -> None:
    found = several.compare_all(made)
    first, *others = found.models
    assert first.versus is None
    for one, other in zip(others, made[1:], strict=True):
        pair = compare.compare(made[0], other).overall
        assert pair is not None and one.versus is not None
        assert (one.versus.difference, one.versus.p_value) == (pair.difference, pair.p_value)
        assert one.versus.p_adjusted >= pair.p_value
    assert [one.versus.verdict for one in others if one.versus] == ["better", "not worse", "better"]
    assert min(one.versus.p_adjusted for one in others if one.versus) == pytest.approx(
        3 * min(one.versus.p_value for one in others if one.versus)
    )


def test_ranks_are_of_pass_rates_and_equal_models_share_one(made: list[Evaluation]) -> None:
    found = several.compare_all(made)
    assert {one.model: one.rank for one in found.models} == {"good": 1, "fair": 2, "base": 3, "same": 3}
    for one in found.models:
        assert one.rank_interval.low <= one.rank <= one.rank_interval.high
    assert [one.model for one in found.ranked][:2] == ["good", "fair"]


def test_groups_have_a_rate_for_every_model_and_are_adjusted_over_all_comparisons(made: list[Evaluation]) -> None:
    found = several.compare_all(made)
    pair = compare.compare(made[0], made[1]).segments["task"]
    for group, alone in zip(found.segments["task"], pair, strict=True):
        assert (group.name, len(group.passed), len(group.versus)) == (alone.name, 4, 3)
        assert group.versus[0].p_adjusted >= alone.p_adjusted


def test_rows_without_verifiers_are_ranked_by_loss() -> None:
    rows = [Conversation(messages=row.messages) for row in ROWS[:20]]
    found = several.compare_all([evaluation(rows, skill, name=f"m{skill}") for skill in (0.1, 0.9, 0.5)])
    assert [one.rank for one in found.models] == [3, 1, 2]
    assert found.models[1].versus is None and found.models[1].loss_change is not None


def test_ranks_by_loss_count_families_of_rows() -> None:
    close = [evaluation(ROWS[:20], 0.3 + at / 100, name=str(at), seed=at) for at in range(3)]
    apart = [replace(one, answers={}) for one in close]
    again = [replace(repeated(one, 10), answers={}) for one in apart]
    ranks, intervals = several._ranks(apart)
    assert several._ranks(again) == (ranks, intervals) and len(set(ranks)) == 3
    assert any(low < high for low, high in intervals)


def test_too_many_models_and_other_rows_are_refused(made: list[Evaluation]) -> None:
    with pytest.raises(DataError, match="7 evaluations are too many"):
        several.compare_all([made[0]] * 7)
    with pytest.raises(DataError, match="can't be paired: rows 140 and 139"):
        several.compare_all([*made[:2], evaluation(ROWS[1:], 0.5, name="other")])


def test_compare_takes_three_and_writes_the_report(
    made: list[Evaluation], workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [as_job(workspace, one) for one in made[:3]]
    names = [job.id for job in jobs]
    where = ["--workspace", str(workspace.path), "--out", str(tmp_path / "out")]
    assert run(["compare", *names, *where]) == 0
    out = capsys.readouterr().out.replace("\u00a0", " ")
    assert "Of 3 models good passes most" in out
    assert "same beside base: not worse (0 points" in out
    document = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [one["model"] for one in document["comparison"]["models"]] == ["base", "good", "same"]
    assert len(document["rows"]) == 140 and len(document["rows"][0]["said"]) == 3
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(part in page for part in ("only good passes", "beside the first", "◆"))
    markdown = (tmp_path / "out" / "report.md").read_text()
    widths = {line.count("|") for line in markdown.splitlines() if line.startswith(("| base", "| good", "| same"))}
    assert widths == {12}
    assert run(["compare", names[0], *where]) == 1
    assert "there is one evaluation only" in capsys.readouterr().err
    assert run(["compare", *names[:2], "--reach", "1.5", *where]) == 1
    assert "--reach is for two learning curves" in capsys.readouterr().err
    assert run(["errors", names[1], "--against", names[0], "--workspace", str(workspace.path)]) == 0
    said = capsys.readouterr()
    assert "before" in said.out and "errors.json" in said.err
    assert json.loads((jobs[1].path / "errors.json").read_text())["document"] == "honed/rows-wanted/1"


def test_several_models_have_floors_power_losses_and_worst_groups_in_every_form(
    made: list[Evaluation], tmp_path: Path
) -> None:
    found = several.compare_all(made[:3])
    pair = compare.compare(made[0], made[1])
    good = found.models[1]
    assert (good.power, good.worst, good.loss_change) == (pair.power, pair.worst, pair.loss)
    assert found.models[0].power is None and not found.models[0].worst
    assert [one.floors for one in found.segments["task"]] == [one.floors for one in pair.segments["task"]]
    report_several.write(tmp_path, found, made[:3])
    faces = {
        "terminal": several_table.text(found),
        "page": (tmp_path / "report.html").read_text(),
        "markdown": (tmp_path / "report.md").read_text(),
    }
    assert good.loss_change is not None
    for text in faces.values():
        plain = " ".join(text.replace("\u00a0", " ").replace("\\", "").split())
        assert words.signed(good.loss_change.difference, 3) in plain
        assert "good passes least often for task" in plain
        assert report_several.can_show(good.power).replace("\u00a0", " ") in plain
        assert "by echoing the prompt" in plain
    for face in ("page", "markdown"):
        assert "Where good fails" in faces[face] and "Where same fails" in faces[face]
    assert set(json.loads((tmp_path / "report.json").read_text())["errors"]) == {"evaluate-good", "evaluate-same"}


def test_the_benefits_of_each_of_several_models_are_shown(tmp_path: Path) -> None:
    rows = [row.conversation for row in chosen.read(["knowledge", "formats"]).rows]
    made = [evaluation(rows, skill, name=name) for name, skill in (("base", 0.5), ("one", 0.9), ("two", 0.1))]
    found = several.compare_all(made)
    report_several.write(tmp_path, found, made)
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text()
        assert "Benefits of one" in text and "Benefits of two" in text and "Benefits of base" not in text
    assert "Forgotten: " in several_table.text(found)
