"""The harnesses themselves on a tiny model and a few rows on the disk; skipped where their extras aren't installed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from honed.errors import ConfigError, DataError
from honed.evaluate import compare, outcome, worker
from honed.evaluate.config import EvaluateConfig
from honed.evaluate.outcome import Answer, Outcome
from honed.jobs import job as jobs
from honed.jobs.job import Job
from honed.store.workspace import Workspace
from tests.tiny import tiny_folder

ROWS = [
    {"question": "What colour is the sky?", "choices": ["green", "blue"], "answer": 1, "topic": "nature"},
    {"question": "How many legs has a spider?", "choices": ["eight", "six", "ten"], "answer": 0, "topic": "nature"},
    {"question": "What is two and two?", "choices": ["three", "four"], "answer": 1, "topic": "sums"},
]
CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}\nAnswer:",
    "doc_to_choice": "choices",
    "doc_to_target": "answer",
    "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")],
}
WRITTEN = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{choices[answer]}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}
INSPECT = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import tool

@task
def says(n=3):
    rows = [("What colour is the sky?", "blue"), ("How many legs has a spider?", "eight"), ("Two and two?", "four")]
    samples = [Sample(input=asked, target=answer, metadata={"topic": "all"}) for asked, answer in rows[:n]]
    return Task(dataset=samples, solver=generate(max_tokens=8), scorer=includes())

@tool
def add():
    async def execute(x: int, y: int) -> int:
        '''Add two numbers.

        Args:
            x: first
            y: second
        '''
        return x + y
    return execute

@task
def calls():
    return Task(dataset=[Sample(input="1 + 1?", target="2")], solver=[use_tools(add()), generate()], scorer=includes())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


def task(folder: Path, name: str, given: dict[str, Any]) -> str:
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    of = {"task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(rows)}}}
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps({**of, "test_split": "test", **given}))  # JSON is YAML
    return f"lm-eval:{path}"


def evaluated(workspace: Workspace, model: Path, suite: str, **settings: Any) -> tuple[Job, Outcome, dict[str, Answer]]:
    config = EvaluateConfig(model=str(model), suite=(suite,), max_tokens=8, batch_size=4, **settings)
    job = jobs.create(workspace, "evaluate", config)
    result = worker.work(job, lambda: False)
    return job, outcome.result(result), outcome.read(Answer, job.path / outcome.SAMPLES)


@pytest.mark.filterwarnings("ignore")
def test_a_task_of_choices_is_an_evaluation_with_floors_and_segments(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("lm_eval", reason="pip install lm-eval")
    suite = task(tmp_path, "choosing", CHOICE)
    settings: dict[str, Any] = {"segments": ("topic",), "harness": {"metric": "acc_norm"}}
    job, found, answers = evaluated(workspace, folder, suite, **settings)
    assert found.harness is not None and found.harness.passed_by == {"choosing": "acc_norm,none"}
    theirs = {one.metric: one.value for one in found.harness.metrics}
    assert theirs["acc_norm,none"] == pytest.approx(found.passed / 3)
    assert [answers[f"choosing/{place}"].tags["topic"] for place in range(3)] == ["nature", "nature", "sums"]
    assert answers["choosing/0"].ideal == "blue" and answers["choosing/1"].answer in ("eight", "six", "ten")
    assert found.floors is not None and found.floors.constant.passed == 2
    other, _, _ = evaluated(workspace, folder, suite, **settings)
    both = [compare.Evaluation(one.id, found, answers, {}) for one in (job, other)]
    whole = compare.compare(*both).overall
    assert whole is not None and (whole.pairs.won, whole.pairs.lost) == (0, 0)


@pytest.mark.filterwarnings("ignore")
def test_a_task_of_written_answers_comes_from_the_engine_and_its_cache(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("lm_eval", reason="pip install lm-eval")
    suite = task(tmp_path, "writing", WRITTEN)
    _, found, answers = evaluated(workspace, folder, suite)
    assert found.n == 3 and found.tokens > 0
    _, again, same = evaluated(workspace, folder, suite)
    assert again.cached_answers == 3 and again.data_hash == found.data_hash
    assert {row: one.answer for row, one in same.items()} == {row: one.answer for row, one in answers.items()}
    _, fewer, _ = evaluated(workspace, folder, suite, rows=2)
    assert fewer.rows == 2


@pytest.mark.filterwarnings("ignore")
def test_a_task_that_is_not_there_names_the_nearest(workspace: Workspace, folder: Path) -> None:
    pytest.importorskip("lm_eval", reason="pip install lm-eval")
    with pytest.raises(ConfigError, match="no task 'arc_eazy'") as caught:
        evaluated(workspace, folder, "lm-eval:arc_eazy")
    assert "arc_easy" in caught.value.hint


@pytest.mark.filterwarnings("ignore")
def test_an_inspect_task_is_an_evaluation(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai", reason="pip install inspect-ai")
    path = tmp_path / "own.py"
    path.write_text(INSPECT)
    settings: dict[str, Any] = {"harness": {"args": {"n": 2}}, "segments": ("topic",)}
    _, found, answers = evaluated(workspace, folder, f"inspect:{path}@says", **settings)
    assert found.harness is not None and found.harness.passed_by == {"says": "includes"}
    assert found.n == 2 and found.floors is not None and found.floors.constant.passed == 1
    assert {one.tags["topic"] for one in answers.values()} == {"all"}
    with pytest.raises(DataError, match="gives the model 1 tools"):
        evaluated(workspace, folder, f"inspect:{path}@calls")


def test_a_task_that_another_model_grades_is_known_by_whom_its_samples_asked() -> None:
    pytest.importorskip("inspect_ai", reason="pip install inspect-ai")
    from honed.evaluate.harness.inspect_tasks import _graded_elsewhere

    def log(*models: str) -> Any:
        samples = [SimpleNamespace(model_usage=dict.fromkeys(models))]
        return SimpleNamespace(eval=SimpleNamespace(model="honed/m"), samples=samples)

    assert not _graded_elsewhere(log()) and not _graded_elsewhere(log("honed/m"))
    assert _graded_elsewhere(log("honed/m", "openai/grader"))
