"""What answers that read nothing would pass of an lm-eval task: a text said to every row, or one choice always taken.

Imported by the worker only. The task judges them itself, by its own filters and its own function.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from honed.evaluate import scoring
from honed.evaluate.harness.ran import TaskFloors
from honed.records import Message

_UNLIKELY = -1000.0


def floors(
    task: Any, samples: Mapping[str, Mapping[str, Any]], metric: str, prompts: Mapping[str, Sequence[Message]]
) -> TaskFloors:
    """Return the floors of one task's rows under ``metric`` (``NAME,FILTER``), by row."""
    name, _, filter_ = metric.partition(",")
    if task.OUTPUT_TYPE == "generate_until":
        ideals = Counter(str(sample["target"]) for sample in samples.values())
        texts = dict.fromkeys((*scoring.CONSTANTS, ideals.most_common(1)[0][0]))
        tried = {text: _said(task, samples, name, filter_, dict.fromkeys(samples, text)) for text in texts}
        last = {row: next((turn.content for turn in reversed(prompt)), "") for row, prompt in prompts.items()}
        return TaskFloors(tried, _said(task, samples, name, filter_, last))
    widest = max(len(sample["filtered_resps"]) for sample in samples.values())
    if widest == 1:  # the likelihood of one text: whoever says another one has it wrong
        return TaskFloors(
            dict.fromkeys(scoring.CONSTANTS, dict.fromkeys(samples, False)), dict.fromkeys(samples, False)
        )
    tried = {
        f"choice {at + 1}": {row: _taken(task, sample, name, at) for row, sample in samples.items()}
        for at in range(widest)
    }
    return TaskFloors(tried, dict.fromkeys(samples, False))


def _said(
    task: Any, samples: Mapping[str, Mapping[str, Any]], metric: str, filter_: str, texts: Mapping[str, str]
) -> dict[str, bool]:
    said = [SimpleNamespace(resps=[texts[row]], doc=one["doc"], filtered_resps={}) for row, one in samples.items()]
    for ensemble in task._filters:
        if ensemble.name == filter_:
            ensemble.apply(said)
    found = [task.process_results(one.doc, [one.filtered_resps[filter_]])[metric] for one in said]
    return {row: bool(texts[row].strip()) and value >= 1 for row, value in zip(samples, found, strict=True)}


def _taken(task: Any, sample: Mapping[str, Any], metric: str, choice: int) -> bool:
    """Return whether a row is passed by whoever finds one choice likelier than all others."""
    count = len(sample["filtered_resps"])
    likely = [(0.0 if at == choice else _UNLIKELY, at == choice) for at in range(count)]
    return choice < count and bool(task.process_results(sample["doc"], likely)[metric] >= 1)
