"""Tasks of lm-eval: found, their rows chosen, run by lm-eval's own evaluator, and each row brought home.

Imported by the worker only: it needs the extra ``lm-eval``.
"""

from __future__ import annotations

import difflib
import heapq
import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from lm_eval import evaluator
from lm_eval.tasks import TaskManager

from honed.errors import ConfigError, DataError
from honed.evaluate.harness import lm_eval_floors, rows
from honed.evaluate.harness.asking import Asking, key
from honed.evaluate.harness.config import HarnessConfig
from honed.evaluate.harness.likelihoods import Likelihoods
from honed.evaluate.harness.lm_eval_model import HonedLM, messages
from honed.evaluate.harness.ran import Metrics, Ran, TaskFloors, together
from honed.evaluate.harness.rows import Judged
from honed.evaluate.outcome import Answer, HarnessMetric, HarnessScores, RowLoss
from honed.models.engine import Completion
from honed.records import Message, digest

_FEWSHOT_SEED = 1234
"""The seed that lm-eval chooses its solved examples by, unless it is told another."""


def run(names: Sequence[str], config: HarnessConfig, asking: Asking, limit: int | None, seed: int) -> Ran:
    """Run tasks (or groups of them) by their names or YAML files. ``limit`` rows of all of them are chosen by hash.

    Raises ``ConfigError`` for a task that lm-eval doesn't know or can't run, ``DataError`` for one whose data isn't
    reachable, or whose metric isn't there.
    """
    loaded = _load(names)
    for name, task in loaded["tasks"].items():
        _allowed(name, task)
        if config.fewshot is not None and task.get_config("num_fewshot") != 0:
            task.set_config(key="num_fewshot", value=config.fewshot)
        elif task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=_FEWSHOT_SEED)
    chosen = _chosen(loaded["tasks"], limit, seed)
    if chosen is not None:
        loaded["tasks"] = {name: task for name, task in loaded["tasks"].items() if chosen[name]}
        loaded["groups"] = {}  # a group's number is that of all its rows
    here = asking.answerer.loaded
    likelihoods = Likelihoods(asking.job, here, asking.batch_size, asking.check) if here else None
    model = HonedLM(asking, likelihoods)
    logging.getLogger("lm_eval").setLevel(logging.WARNING)
    found = evaluator.evaluate(
        lm=model,
        task_dict=loaded,
        samples=chosen,
        bootstrap_iters=0,
        apply_chat_template=config.chat,
        fewshot_as_multiturn=config.chat,
        verbosity="WARNING",
    )
    assert found is not None, "this is rank 0"
    return _ran(found, loaded["tasks"], config, asking, model.tokens)


def _load(names: Sequence[str]) -> dict[str, Any]:
    manager = TaskManager()
    known = manager.all_tasks
    for name in names:
        if name not in known and not name.endswith((".yaml", ".yml")):
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else "List them: lm_eval ls tasks"
            raise ConfigError(f"lm-eval has no task {name!r}", hint)
    try:
        found: dict[str, Any] = dict(manager.load(list(names)))
        for task in found["tasks"].values():
            len(task.eval_docs)
    except Exception as error:  # the task's own code, or anything between here and its data
        what = f"lm-eval can't load {', '.join(names)}: {rows.first_line(error)}"
        raise DataError(
            what, "Its data set must be reachable, or in the cache of `datasets` on this machine."
        ) from error
    return found


def _allowed(name: str, task: Any) -> None:
    if getattr(task, "UNSAFE_CODE", False):
        raise ConfigError(
            f"{name} runs code that the model writes", "honed runs no such code: use lm_eval in a sandbox."
        )
    if getattr(task, "MULTIMODAL", False):
        raise ConfigError(f"{name} asks about pictures or sounds", "honed's engine reads text: choose another task.")


def _chosen(tasks: Mapping[str, Any], limit: int | None, seed: int) -> dict[str, list[int]] | None:
    """Return the places of each task's chosen rows; None for all of them."""
    if limit is None:
        return None
    every = [(name, place) for name, task in tasks.items() for place in range(len(task.eval_docs))]
    kept = heapq.nsmallest(limit, every, key=lambda row: digest([seed, *row]))
    return {name: sorted(place for task, place in kept if task == name) for name in tasks}


def _ran(
    found: Mapping[str, Any], tasks: Mapping[str, Any], config: HarnessConfig, asking: Asking, tokens: Mapping[str, int]
) -> Ran:
    answers: dict[str, Answer] = {}
    losses: dict[str, RowLoss] = {}
    passed_by: dict[str, str] = {}
    every: dict[str, TaskFloors] = {}
    for name, given in found["samples"].items():
        metrics = Metrics(name)
        lower = {metric for metric, higher in found["higher_is_better"].get(name, {}).items() if higher is False}
        for sample in given:
            for metric in sample["metrics"]:
                value = None if metric in lower else sample[metric]
                metrics.add(_id(name, sample), f"{metric},{sample['filter']}", value)
        passing = metrics.passing(config.metric) or ""
        kept = passing.partition(",")[2] or given[0]["filter"]
        samples = {_id(name, sample): sample for sample in given if sample["filter"] == kept}
        if passing:
            passed_by[name] = passing
            prompts = {row: messages(sample["arguments"][0][0]) for row, sample in samples.items()}
            every[name] = lm_eval_floors.floors(tasks[name], samples, passing, prompts)
        for row, sample in samples.items():
            value = metrics.values[passing][row] if passing else None
            floors = every[name].of(row) if passing else {}
            judged = Judged("lm-eval", name, passing, value, bool(passing) and metrics.graded(passing), floors)
            one = _answer(row, tasks[name], sample, judged, asking)
            answers[row] = one.model_copy(update={"tags": {**asking.tags(sample["doc"]), **one.tags}})
            if tasks[name].OUTPUT_TYPE == "loglikelihood_rolling":
                losses[row] = _loss(row, sample, tokens)
    scores = HarnessScores(harness="lm-eval", version=version("lm-eval"), metrics=_metrics(found), passed_by=passed_by)
    return Ran(answers, losses, scores, together(every))


def _id(task: str, sample: Mapping[str, Any]) -> str:
    return f"{task}/{sample['doc_id']}"


def _answer(row: str, task: Any, sample: Mapping[str, Any], judged: Judged, asking: Asking) -> Answer:
    """Return a row: the text that was generated, or the one that the model found likeliest."""
    arguments = sample["arguments"]
    kind = task.OUTPUT_TYPE
    if kind == "loglikelihood_rolling":
        (nats,) = [one[0] for one in sample["resps"]]
        text = (Message(role="user", content=str(arguments[0][0])),)
        return rows.chosen(row, text, "", "", judged, f"The log-likelihood of the text is {-abs(nats):.2f}.")
    prompt = messages(arguments[0][0])
    if kind == "generate_until":
        text_ = str(sample["resps"][0][0])
        known = asking.completions.get(key(prompt))
        made = known if known and known.text == text_ else Completion(text=text_, tokens=0, finish="stop")
        filtered = sample["filtered_resps"][0]
        why = asking.no_room.get(key(prompt), "") or f"lm-eval reads {filtered!r}; {_said(judged)}"
        return rows.generated(row, prompt, _target(sample), made, judged, why)
    texts = [str(one[1]).strip() for one in arguments]
    nats = [float(one[0]) for one in sample["filtered_resps"]]
    if len(texts) == 1:
        greedy = bool(sample["filtered_resps"][0][1])
        why = f"Log-likelihood {nats[0]:.2f}; {'' if greedy else 'not '}the greedy continuation."
        return rows.chosen(row, prompt, texts[0], texts[0] if greedy else "", judged, why)
    normed = judged.metric.startswith("acc_norm")
    weights = [one / max(len(text), 1) if normed else one for one, text in zip(nats, texts, strict=True)]
    at = max(range(len(texts)), key=weights.__getitem__)
    target = sample["target"]
    ideal = texts[target] if isinstance(target, int) and 0 <= target < len(texts) else _target(sample)
    others = ", ".join(f"{one:.2f}" for one in nats)
    return rows.chosen(row, prompt, ideal, texts[at], judged, f"Choice {at + 1} of log-likelihoods {others}.")


def _target(sample: Mapping[str, Any]) -> str:
    target = sample["target"]
    return str(target[0] if isinstance(target, list) and target else target)


def _said(judged: Judged) -> str:
    return f"{judged.metric.partition(',')[0]} {judged.value:g}" if judged.value is not None else "no verdict on a row"


def _loss(row: str, sample: Mapping[str, Any], tokens: Mapping[str, int]) -> RowLoss:
    text = str(sample["arguments"][0][0])
    return RowLoss(row=row, nats=-float(sample["resps"][0][0]), tokens=tokens[text], bytes=len(text.encode()))


def _metrics(found: Mapping[str, Any]) -> tuple[HarnessMetric, ...]:
    """Return the numbers that lm-eval gives for tasks and groups, each with its standard error where it has one."""
    made: dict[tuple[str, str], HarnessMetric] = {}
    for task, numbers in {**found["results"], **found.get("groups", {})}.items():
        for name, value in numbers.items():
            metric, comma, filter_ = name.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = numbers.get(f"{metric}_stderr,{filter_}")
            known = float(error) if isinstance(error, int | float) else None
            made[task, name] = HarnessMetric(task=task, metric=name, value=float(value), error=known)
    return tuple(made.values())
