"""A trial of a selection: both sides trained alike and measured on the same rows, and the words say what is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from honed import config as settings_file
from honed.cli.main import run as honed
from honed.errors import ConfigError, DataError, StoreError
from honed.evaluate.stats import Interval
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.records import Conversation, Split
from honed.rounds.curve.outcome import Change
from honed.rounds.trial import outcome, plan, run
from honed.rounds.trial.config import TrialConfig
from honed.rounds.trial.outcome import TrialOutcome
from honed.store import datasets
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace
from honed.train.config import TrainConfig
from tests.house.tree import python_files
from tests.rounds.curve.desk import question, run_here, write_base

NAMES = ("picked-random@v1", "picked@v1")


def write(workspace: Workspace, name: str, train: int, heldout: int = 20, parent: str = "all@v1") -> Artifact:
    rows: list[tuple[Conversation, Split]] = [(question(at, "billing"), "train") for at in range(train)]
    rows += [(question(1000 + at, "returns"), "heldout") for at in range(heldout)]
    return datasets.write(workspace, name, rows, config={}, facts={}, parents={parent: "hash"})


@pytest.fixture
def quick(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A base model and two selections, with trainings and evaluations that take no model."""
    monkeypatch.setattr(launch, "WORKER", "tests.rounds.curve.fakes.{stage}")
    run_here(monkeypatch)
    write_base(workspace)
    write(workspace, "picked", 40)
    write(workspace, "picked-random", 40)
    return workspace


def resolved(workspace: Workspace, against: str | None = None, **train: Any) -> TrialConfig:
    return run.resolved(workspace, TrainConfig(base="first", data="picked", **train), against, {})


def test_both_sides_are_trained_alike_and_measured_on_the_same_rows(quick: Workspace) -> None:
    job = run.run(quick, TrainConfig(base="first", data="picked", seed=3))
    assert job.status().state == "done", (job.path / "log.txt").read_text()
    found = TrialOutcome.model_validate(job.result())
    assert (found.against, found.data, found.heldout) == ("picked-random@v1", "picked@v1", 20)
    assert [point.trained.rows if point.trained else 0 for point in found.points] == [0, 40, 40]
    assert found.loss and found.loss.better == 0 and found.verdict == "not shown"
    trainings = [one for one in jobs.listing(quick) if one.status().stage == "train"]
    first, second = (settings_file.read(TrainConfig, one.path / "config.yaml") for one in trainings)
    assert second.learning_rate == 1e-4 and second.epochs == 3.0 and second.batch_tokens == 4096
    assert (first.seed, second.seed) == (3, 3)


def test_a_selection_with_more_rows_wins_on_the_fake_law(quick: Workspace) -> None:
    write(quick, "few", 4)
    job = run.run(quick, TrainConfig(base="first", data="picked"), "few")
    found = TrialOutcome.model_validate(job.result())
    assert found.verdict == "won" and found.loss and found.loss.better > 0.3
    assert found.words[0].startswith("picked@v1 beats few@v1: held-out loss 0.6")
    assert "10.0 times the tokens" in " ".join(found.words)


def test_the_command_prints_the_table_and_the_verdict(quick: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert honed(["data", "trial", "picked", "--base", "first", "--workspace", str(quick.path)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out[1:4]] == ["base", "picked-random@v1", "picked@v1"]
    assert out[4].startswith("No difference is shown between picked@v1 and picked-random@v1")


def selecting(workspace: Workspace, *more: str) -> list[str]:
    source = ["data", "select", "all", "--by", "length", "--count", "20", "--as", "new"]
    return [*source, *more, "--workspace", str(workspace.path)]


def test_a_selection_is_tried_at_once_if_that_is_asked_for(
    quick: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    write(quick, "all", 60)
    assert honed(selecting(quick, "--trial", "--base", "first", "--epochs", "2")) == 0
    out, err = capsys.readouterr()
    assert "isn't known yet" not in err
    assert any(line.startswith("No difference is shown between new@v1 and new-random@v1") for line in out.splitlines())
    (trial,) = [one for one in jobs.listing(quick) if one.status().stage == "trial"]
    config = settings_file.read(TrialConfig, trial.path / "config.yaml")
    assert (config.data, config.against, config.train["epochs"]) == ("new@v1", "new-random@v1", 2)
    assert honed(selecting(quick, "--trial", "--base", "first", "--json")) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["random"]["dataset"] == document["trial"]["against"]
    assert document["trial"]["verdict"] == "not shown" and document["trial"]["job"] != document["job"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--trial"], "--trial needs a model to train from"),
        (["--base", "first"], "--base says how a trial trains"),
        (["--trial", "--base", "first", "--by", "random"], "no others beside them"),
        (["--trial", "--base", "first", "--as", "bare"], "no held-out rows"),
    ],
)
def test_a_trial_that_cannot_be_held_is_refused_before_rows_are_selected(
    more: list[str], said: str, quick: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    write(quick, "all", 60, heldout=0 if "bare" in more else 20)
    args = selecting(quick, *more)
    if "random" in more:
        args.remove("--by")
        args.remove("length")
    assert honed(args) == 1
    assert said in capsys.readouterr().err
    assert jobs.listing(quick) == []


def test_the_card_of_a_selection_says_what_its_trial_showed_or_that_none_was_held(
    quick: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(quick, "all", 60)
    assert honed(selecting(quick)) == 0
    card = ["data", "card", "new", "--out", str(tmp_path), "--workspace", str(quick.path)]
    assert honed(card) == 0
    assert "Whether its rows beat random ones isn't known: honed data trial new@v1" in capsys.readouterr().out
    assert honed(["data", "trial", "new", "--base", "first", "--workspace", str(quick.path)]) == 0
    assert honed(card) == 0
    out = capsys.readouterr().out
    assert "Trial, trained from first@v1: No difference is shown between new@v1 and new-random@v1" in out
    assert "isn't known: honed data trial" not in out
    assert "No difference is shown" in (tmp_path / "card.md").read_text()


def test_what_the_user_set_stands_and_the_rest_is_shared() -> None:
    config = TrialConfig(data="a@v1", against="b@v1", base="m", train={"epochs": 1.5, "weights": "lora"})
    ran = {"learning_rate": 1e-3, "weights": "lora", "precision": "fp32", "batch_tokens": 2048}
    shared = plan.recipe(config, {"ran": ran, "epochs": 1.5})
    assert shared == {"learning_rate": 1e-3, "precision": "fp32", "batch_tokens": 2048}
    one = plan.training(config, "b@v1", shared)
    assert (one.name, one.epochs, one.weights, one.learning_rate) == ("b-trial", 1.5, "lora", 1e-3)
    assert one.average is False
    assert plan.training(config, f"{'b' * 64}@v1", shared).name == f"{'b' * 58}-trial"  # 64 are a name's most


def test_what_cannot_be_compared_is_refused_before_anything_runs(quick: Workspace) -> None:
    write(quick, "other", 40, heldout=19)
    with pytest.raises(DataError, match="hold out other rows"):
        resolved(quick, "other")
    write(quick, "bare", 40, heldout=0)
    with pytest.raises(DataError, match="no held-out rows"):
        run.resolved(quick, TrainConfig(base="first", data="bare"), "bare", {})
    with pytest.raises(StoreError, match="there are no random rows beside bare@v1"):
        run.resolved(quick, TrainConfig(base="first", data="bare"), None, {})
    with pytest.raises(ConfigError, match="zebra"):
        run.resolved(quick, TrainConfig(base="first", data="picked"), None, {"zebra": 1})


def test_random_rows_of_another_source_are_not_taken_for_those_beside_a_selection(quick: Workspace) -> None:
    write(quick, "picked-random", 40, heldout=21, parent="else@v1")
    assert resolved(quick).against == "picked-random@v1"


def change(better: float, p_value: float) -> Change:
    return Change(better=better, interval=Interval(better - 0.01, better + 0.01), p_value=p_value, p_adjusted=p_value)


@pytest.mark.parametrize(
    ("better", "p_value", "verdict", "first"),
    [
        (0.02, 0.001, "won", "picked@v1 beats picked-random@v1: held-out loss 0.0200 nats a token lower (0.0100 to"),
        (-0.02, 0.001, "lost", "picked@v1 is worse than picked-random@v1: held-out loss 0.0200 nats a token higher"),
        (0.02, 0.2, "not shown", "No difference is shown between picked@v1 and picked-random@v1: held-out loss 0.0"),
    ],
)
def test_the_words_say_what_is_shown(better: float, p_value: float, verdict: str, first: str) -> None:
    said, sentences = outcome.judge(NAMES, (), (100, 100), (change(better, p_value), None))
    assert said == verdict
    assert sentences[0].replace("\u00a0", " ").startswith(first)
    assert "no interval covers that" in sentences[-1]


def test_without_losses_the_pass_rate_decides_and_without_both_nothing_is_claimed() -> None:
    said, sentences = outcome.judge(NAMES, (), (100, 100), (None, change(0.2, 0.01)))
    assert said == "won" and "+20 points" in sentences[0].replace("\u00a0", " ")
    assert outcome.judge(NAMES, (), (1, 1), (None, None))[0] == "not shown"


def test_every_setting_of_a_trial_is_described_and_read() -> None:
    assert all(field.description for field in TrialConfig.model_fields.values())
    read = "".join(path.read_text() for path in python_files("honed/rounds/trial") if path.name != "config.py")
    assert [name for name in TrialConfig.model_fields if f"config.{name}" not in read] == []
