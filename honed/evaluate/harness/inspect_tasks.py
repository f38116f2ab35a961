"""Tasks of inspect-ai: run by inspect-ai's own evaluator, and each sample brought home.

Imported by the worker only: it needs the extra ``inspect``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import inspect_ai
from inspect_ai.model import GenerateConfig, Model, ModelAPI
from inspect_ai.scorer import value_to_float

from honed.errors import ConfigError, DataError
from honed.evaluate.harness import inspect_floors, rows
from honed.evaluate.harness.asking import Asking, key
from honed.evaluate.harness.config import HarnessConfig
from honed.evaluate.harness.inspect_model import HonedAPI, known, messages
from honed.evaluate.harness.ran import Metrics, Ran, TaskFloors, together
from honed.evaluate.harness.rows import Judged
from honed.evaluate.outcome import Answer, HarnessMetric, HarnessScores
from honed.models.engine import Completion

LOGS, FLOORS = "inspect", "inspect-floors"
"""Folders of a job where inspect-ai leaves its own logs (``inspect view`` shows them), and those of the floors."""
_LONGEST = 500  # characters of a scorer's explanation


@dataclass(frozen=True)
class Run:
    """How tasks are run: what was set, who answers, how many samples of each are drawn, and by which seed."""

    config: HarnessConfig
    asking: Asking
    limit: int | None
    seed: int

    def logs(self, name: str, api: ModelAPI, folder: str) -> list[Any]:
        """Run what a name stands for with a model, and return inspect-ai's logs."""
        logs = inspect_ai.eval(
            name,
            model=Model(api, GenerateConfig(max_connections=self.asking.batch_size)),
            task_args=dict(self.config.args),
            limit=self.limit,
            sample_shuffle=None if self.limit is None else self.seed,
            max_samples=self.asking.batch_size,
            fail_on_error=True,
            display="none",
            log_level="warning",
            log_dir=str(self.asking.job.path / folder),
            score_display=False,
        )
        return list(logs)


def run(names: Sequence[str], config: HarnessConfig, asking: Asking, limit: int | None, seed: int) -> Ran:
    """Run tasks by ``FILE.py@TASK`` or ``PACKAGE/TASK``; of each, ``limit`` samples drawn by the seed.

    Raises ``ConfigError`` for a task that can't be read, ``DataError`` for one that ends with an error.
    """
    how = Run(config, asking, limit, seed)
    answers: dict[str, Answer] = {}
    passed_by: dict[str, str] = {}
    metrics: list[HarnessMetric] = []
    floors: dict[str, TaskFloors] = {}
    seen: set[str] = set()
    for name in names:
        for log in _logs(name, how):
            task = str(log.eval.task)
            if task in seen:
                raise ConfigError(f"two tasks are named {task}", "Measure them in evaluations of their own.")
            seen.add(task)
            found, values = _samples(task, log), _metrics(task, log)
            if passing := values.passing(config.metric) or "":
                passed_by[task] = passing
                wanted = how.config.floors
                if wanted or (wanted is None and not _graded_elsewhere(log)):
                    floors[task] = _floors(name, task, passing, found, how)
            answers |= _answers(task, found, values, passing, floors.get(task), asking)
            metrics += _numbers(task, log)
    scores = HarnessScores(
        harness="inspect", version=version("inspect-ai"), metrics=tuple(metrics), passed_by=passed_by
    )
    return Ran(answers, {}, scores, together(floors))


def _logs(name: str, how: Run) -> list[Any]:
    api = known(HonedAPI, how.asking)
    try:
        logs = how.logs(name, api, LOGS)
    except Exception as error:  # the task's own code, or anything between here and its data
        if api.failed is not None:
            raise api.failed from None
        what = f"inspect-ai can't run {name}: {rows.first_line(error)}"
        raise DataError(what, "Check the task's name and arguments; its data must be reachable.") from error
    if api.failed is not None:
        raise api.failed
    if not logs:
        raise ConfigError(f"{name} has no inspect-ai task", "A task is a function under @task: inspect:FILE.py@TASK.")
    for log in logs:
        if log.status != "success" or not log.samples:
            said = log.error.message.strip().splitlines()[0] if log.error else "it has no samples"
            raise DataError(f"inspect-ai ended {log.eval.task}: {said}", f"Its log: {log.location}")
    return logs


def _graded_elsewhere(log: Any) -> bool:
    """Whether another model than the measured one was asked as well: each floor would ask it anew, and may cost."""
    return any(model != log.eval.model for sample in log.samples for model in sample.model_usage)


def _floors(name: str, task: str, metric: str, samples: Mapping[str, Any], how: Run) -> TaskFloors:
    def passed(api: ModelAPI) -> dict[str, bool]:
        how.asking.check()
        for log in how.logs(name, api, FLOORS):
            if log.eval.task == task and log.samples:
                values = _metrics(task, log).values.get(metric, {})
                return {row: value is not None and value >= 1 for row, value in values.items()}
        return {}

    return inspect_floors.floors(list(samples), [_ideal(one) for one in samples.values()], passed)


def _samples(task: str, log: Any) -> dict[str, Any]:
    several = any(sample.epoch > 1 for sample in log.samples)
    return {f"{task}/{one.id}" + (f"#{one.epoch}" if several else ""): one for one in log.samples}


def _metrics(task: str, log: Any) -> Metrics:
    metrics = Metrics(task)
    for row, sample in _samples(task, log).items():
        for scorer, score in (sample.scores or {}).items():
            for metric, value in _values(scorer, score.value).items():
                metrics.add(row, metric, value)
    return metrics


def _values(scorer: str, value: object) -> dict[str, float | None]:
    """Return a score's numbers by name: C and I are 1 and 0, P is 0.5, and what wasn't scored is a fail."""
    number = value_to_float()
    given = {f"{scorer}.{name}": one for name, one in value.items()} if isinstance(value, Mapping) else {scorer: value}
    found = {name: None if isinstance(one, list) else float(number(one)) for name, one in given.items()}
    return {name: 0.0 if one is not None and math.isnan(one) else one for name, one in found.items()}


def _answers(
    task: str, samples: Mapping[str, Any], metrics: Metrics, passing: str, floors: TaskFloors | None, asking: Asking
) -> dict[str, Answer]:
    several = len({sample.epoch for sample in samples.values()}) > 1
    graded = bool(passing) and metrics.graded(passing)
    found = {}
    for row, sample in samples.items():
        value = metrics.values[passing].get(row, 0.0) if passing else None
        judged = Judged("inspect", task, passing, value, graded, floors.of(row) if floors else {})
        one = _answer(row, sample, judged, asking)
        tags = {**asking.tags(sample.metadata or {}), **({"family": f"{task}/{sample.id}"} if several else {})}
        found[row] = one.model_copy(update={"tags": {**tags, **one.tags}})
    return found


def _answer(row: str, sample: Any, judged: Judged, asking: Asking) -> Answer:
    """Return the last thing that the model was asked, and what it said."""
    turns = messages(sample.messages)
    last = max((place for place, turn in enumerate(turns) if turn.role == "assistant"), default=len(turns))
    prompt, text = turns[:last], str(sample.output.completion)
    said_ = asking.completions.get(key(prompt))
    made = said_ if said_ and said_.text == text else Completion(text=text, tokens=0, finish="stop")
    score = (sample.scores or {}).get(judged.metric.partition(".")[0])
    said = (score.explanation or "").strip() if score else ""
    read = f"inspect-ai reads {score.answer!r}; {judged.metric} {judged.value:g}" if score and score.answer else said
    why = asking.no_room.get(key(prompt), "") or read[:_LONGEST]
    return rows.generated(row, prompt, _ideal(sample), made, judged, why)


def _ideal(sample: Any) -> str:
    target = sample.target
    return str(target if isinstance(target, str) else target[0] if target else "")


def _numbers(task: str, log: Any) -> list[HarnessMetric]:
    """Return inspect-ai's own metrics, each with its standard error where it has one."""
    found = []
    for score in log.results.scores if log.results else ():
        error = score.metrics.get("stderr")
        spread = float(error.value) if error else None
        for name, metric in score.metrics.items():
            if name != "stderr":
                value = float(metric.value)
                found.append(HarnessMetric(task=task, metric=f"{score.name}/{name}", value=value, error=spread))
    return found
