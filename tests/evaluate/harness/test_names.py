"""Which suites are another harness's tasks, and what is said where they can't be run."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from honed.errors import ConfigError
from honed.evaluate.config import EvaluateConfig
from honed.evaluate.harness import names
from honed.evaluate.suites import chosen


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "find_spec", lambda _name: object())


def test_suites_of_honed_are_no_harness_s() -> None:
    assert names.harness(["ifeval", "my:folder", "C:/suite"]) is None
    assert names.harness([]) is None


def test_a_task_is_told_by_the_harness_before_the_colon() -> None:
    assert names.harness(["lm-eval:arc_easy", "lm-eval:mmlu"]) == "lm-eval"
    assert names.harness(["inspect:a.py@one"]) == "inspect"
    assert names.tasks(["lm-eval:arc_easy", "inspect:a.py@one"]) == ["arc_easy", "a.py@one"]


@pytest.mark.parametrize("suites", [["lm-eval:arc_easy", "ifeval"], ["lm-eval:arc_easy", "inspect:a.py"]])
def test_suites_of_two_kinds_are_refused(suites: list[str]) -> None:
    with pytest.raises(ConfigError, match="which run apart"):
        names.harness(suites)


@pytest.mark.parametrize(("suite", "extra"), [("lm-eval:arc_easy", "lm-eval"), ("inspect:a.py@one", "inspect")])
def test_a_harness_that_is_not_installed_is_named_with_its_extra(
    suite: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError) as caught:
        names.pinned([suite])
    assert suite in caught.value.message and "isn't installed" in caught.value.message
    assert caught.value.hint == f"pip install 'honed[{extra}]'"


@pytest.mark.usefixtures("installed")
def test_a_file_of_tasks_is_kept_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.py").touch()
    (tmp_path / "own.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert names.pinned(["inspect:own.py@one"]) == (f"inspect:{tmp_path}/own.py@one",)
    assert names.pinned(["inspect:own.py"]) == (f"inspect:{tmp_path}/own.py",)
    assert names.pinned(["lm-eval:own.yaml", "lm-eval:arc_easy"]) == (
        f"lm-eval:{tmp_path}/own.yaml",
        "lm-eval:arc_easy",
    )


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("suites", "words"),
    [
        (["lm-eval:"], "names no task"),
        (["inspect:nowhere.py@one"], "there is no file"),
        (["lm-eval:nowhere.yaml"], "there is no file"),
        (["lm-eval:arc_easy", "lm-eval:arc_easy"], "asked for twice"),
    ],
)
def test_a_task_that_cannot_be_meant_is_refused_before_a_job_begins(suites: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        names.pinned(suites)


def test_stored_answers_have_no_rows_of_a_harness_to_be_scored_by() -> None:
    with pytest.raises(ConfigError, match="run by its own harness"):
        chosen.read(["lm-eval:arc_easy"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"suite": "ifeval", "harness": {"fewshot": 2}}, "no suite is another harness's task"),
        ({"suite": "lm-eval:arc_easy", "ranks": 2}, "run by one process"),
        (
            {"suite": "lm-eval:a", "harness": {"chat": False}, "endpoint": {"base_url": "http://127.0.0.1:1/v1"}},
            "its server's chat template",
        ),
        ({"suite": "lm-eval:a", "harness": {"shots": 2}}, "shots"),
    ],
)
def test_settings_that_would_be_read_by_nobody_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        EvaluateConfig.model_validate({"model": "m", **settings})
