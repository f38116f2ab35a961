"""Every metric by tag, small groups by their size only, and the base model's floor."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from honed import segments
from honed.builtin.load import load
from honed.cli.main import run
from honed.errors import ConfigError, DataError
from honed.evaluate import compare, groups, words
from honed.evaluate.config import EvaluateConfig
from honed.evaluate.run import ruled
from honed.records import Conversation
from honed.store.workspace import Workspace
from tests.evaluate.planted import as_job, evaluation, repeated

ROWS = load("heldout")[:140]


def regions(rows: list[Conversation]) -> list[Conversation]:
    """The rows with a tag of their own, of which one group is too small."""
    names = ["north"] * 3 + ["south"] * (len(rows) - 3)
    return [
        row.model_copy(update={"tags": {**row.tags, "region": name}}) for row, name in zip(rows, names, strict=True)
    ]


def test_all_metrics_are_given_by_tag_and_a_small_group_has_its_size_only() -> None:
    rows = regions(ROWS)
    made = evaluation(rows, 0.5, name="base")
    found = groups.groups("region", made.answers, made.losses, {row.id: row.tags for row in rows})
    assert found.small == {"north": 3} and found.worst is None
    assert found.passed.keys() == found.guarded.keys() == found.losses.keys() == {"south"}
    assert found.passed["south"].n == found.losses["south"].rows == 137
    assert found.guarded["south"].passed <= found.passed["south"].passed
    low, high = found.losses["south"].interval
    assert low < found.losses["south"].loss < high


def test_a_comparison_by_any_tag_names_what_is_too_small() -> None:
    rows = regions(ROWS)
    found = compare.compare(evaluation(rows, 0.2, name="a"), evaluation(rows, 0.7, name="b"), ["region", "task"])
    assert [one.name for one in found.segments["region"]] == ["south"] and found.small["region"] == {"north": 3}
    assert set(found.segments) == {"region", "task"} and set(found.worst) == {"task"}
    assert words.too_few(found.small["region"]) == "too few to say: north (3 rows)"
    assert "task" in " ".join(words.verdicts(found))


def test_rows_of_one_template_are_one_family_in_a_comparison() -> None:
    rows = [row.model_copy(update={"tags": {**row.tags, "template": row.tags["task"]}}) for row in ROWS]
    whole = compare.compare(evaluation(rows, 0.2, name="a"), evaluation(rows, 0.7, name="b")).overall
    alone = compare.compare(evaluation(ROWS, 0.2, name="a"), evaluation(ROWS, 0.7, name="b")).overall
    assert whole is not None and alone is not None
    assert (whole.families, alone.families) == (7, 140) and whole.p_value > alone.p_value


def test_the_base_models_floor_is_that_of_its_own_evaluation(workspace: Workspace) -> None:
    base, tuned = evaluation(ROWS, 0.2, name="base"), evaluation(ROWS, 0.7, name="tuned", seed=1)
    found = groups.base(as_job(workspace, base), tuned.outcome.data_hash, tuned.answers.keys())
    assert (found.floor.model, found.floor.rate.passed) == ("base", base.outcome.passed)
    with pytest.raises(DataError, match="no evaluation of the same rows"):
        groups.base(as_job(workspace, base), "0" * 60, tuned.answers.keys())


def test_every_group_has_its_floors_its_mean_value_and_its_whole_families(workspace: Workspace) -> None:
    rows = [row.model_copy(update={"tags": {**row.tags, "family": str(at // 2)}}) for at, row in enumerate(ROWS)]
    base, tuned = evaluation(rows, 0.2, name="base"), evaluation(rows, 0.7, name="tuned", seed=1)
    answers = {row: one.model_copy(update={"value": float(bool(one.passed))}) for row, one in tuned.answers.items()}
    below = groups.base(as_job(workspace, base), tuned.outcome.data_hash, answers.keys())
    found = groups.groups("audience", answers, tuned.losses, {row.id: row.tags for row in rows}, below)
    for name, cell in found.passed.items():
        group = [one for one in answers.values() if one.tags["audience"] == name]
        assert found.floors[name].keys() == {"constant", "echo", "base"}
        assert found.floors[name]["base"].passed == sum(bool(base.answers[one.row].passed) for one in group)
        assert found.floors[name]["echo"].passed == sum(one.floors["echo"] for one in group)
        assert (found.values[name].n, found.values[name].mean) == (cell.n, pytest.approx(cell.rate))
    apart: dict[str, set[str]] = {}
    for answer in answers.values():
        apart.setdefault(answer.tags["audience"], set()).add(answer.tags["family"])
    for name, one in found.reliable.items():
        others = set().union(*(families for other, families in apart.items() if other != name))
        assert one.whole.n == len(apart[name] - others), "a family that lies in two groups is of neither"


def test_the_groups_of_a_suite_alone_are_not_given_and_those_of_several_are() -> None:
    one, two = {"suite": "a", "task": "t"}, {"suite": "b"}
    assert groups.worth(("task", "suite"), [one, one]) == ["task"]
    assert groups.worth(("task", "suite"), [one, two]) == ["task", "suite"]


SEGMENTS = "segments:\n- {name: young, where: {audience: child}}\n- {name: experts, where: {audience: [expert]}}\n"


def test_a_comparison_by_a_file_of_segments_pairs_rows_by_its_rules(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "segments.yaml"
    file.write_text(SEGMENTS)
    one = as_job(workspace, evaluation(ROWS, 0.2, name="a"))
    two = as_job(workspace, evaluation(ROWS, 0.7, name="b", rules="other"))
    args = ["compare", one.id, two.id, "--by", str(file), "--by", "task", "--json", "--workspace", str(workspace.path)]
    assert run([*args, "--out", str(tmp_path / "report")]) == 0
    found = json.loads(capsys.readouterr().out)["comparison"]
    sizes = {cell["name"]: cell["n"] for cell in found["segments"]["segment"]}
    assert sizes == {
        "young": sum(row.tags["audience"] == "child" for row in ROWS),
        "experts": sum(row.tags["audience"] == "expert" for row in ROWS),
    }
    assert found["base"]["rules"] == found["tuned"]["rules"] == segments.version(segments.read(str(file)))
    assert set(found["segments"]) == {"segment", "task"} and not found["notes"]
    plain = compare.compare_jobs(one, two)
    assert "other segments" in " ".join(plain.notes)


def test_a_tag_that_no_row_has_is_said_in_a_comparison_and_the_usual_ones_are_not_missed(tmp_path: Path) -> None:
    bare = [row.model_copy(update={"tags": {}}) for row in ROWS[:20]]
    one, two = evaluation(bare, 0.2, name="a"), evaluation(bare, 0.7, name="b")
    assert compare.compare(one, two).notes == ()
    assert compare.compare(one, two, ["audience", "regoin"]).notes == (
        "Of those that have a verifier, no row has the tag 'regoin': nothing is given by it.",
    )
    files = [str(tmp_path / name) for name in ("a.yaml", "b.yaml")]
    with pytest.raises(ConfigError, match="are 2 files"):
        segments.named(files)


def test_a_losss_change_counts_families_of_rows() -> None:
    rows = [row.model_copy(update={"tags": {**row.tags, "family": f"f{n // 4}"}}) for n, row in enumerate(ROWS)]
    apart = compare.compare(evaluation(ROWS, 0.2, name="a"), evaluation(ROWS, 0.3, name="b", seed=1)).loss
    together = compare.compare(evaluation(rows, 0.2, name="a"), evaluation(rows, 0.3, name="b", seed=1)).loss
    assert apart is not None and together is not None
    assert (together.difference, together.rows) == (pytest.approx(apart.difference), apart.rows)
    assert together.interval != apart.interval and together.p_value > apart.p_value


def test_a_loss_of_rows_that_were_not_answered_counts_families_of_rows_too() -> None:
    apart = [evaluation(ROWS, skill, name=name, seed=seed) for skill, name, seed in ((0.2, "a", 0), (0.3, "b", 1))]
    alone = [replace(one, answers={}) for one in apart]
    again = [replace(repeated(one, 4), answers={}) for one in apart]
    once, more = (compare.compare(*pair).loss for pair in (alone, again))
    assert once is not None and more is not None and once == compare.compare(*apart).loss
    assert more.rows == 4 * once.rows and more.p_value == pytest.approx(once.p_value)
    assert more.interval == pytest.approx(once.interval)
    tags = {row: {"region": "south"} for one in (alone[0], again[0]) for row in one.losses}
    losses = [groups.groups("region", {}, one.losses, tags).losses["south"] for one in (alone[0], again[0])]
    assert losses[1].loss == pytest.approx(losses[0].loss)
    assert losses[1].interval == pytest.approx(losses[0].interval)


def test_a_file_of_segments_is_read_when_an_evaluation_begins(tmp_path: Path) -> None:
    file = tmp_path / "segments.yaml"
    file.write_text(SEGMENTS)
    config = ruled(EvaluateConfig(model="m", data="d", segments=("task", str(file))))
    assert config.segments == ("task", "segment")
    assert [rule.name for rule in config.rules] == ["young", "experts"]
    assert ruled(config) == config
    with pytest.raises(ConfigError, match="more rules"):
        ruled(EvaluateConfig(model="m", data="d", segments=(str(file),), rules=config.rules))
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        ruled(EvaluateConfig(model="m", data="d", segments=("gone.yaml",)))
