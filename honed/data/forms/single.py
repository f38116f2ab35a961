"""Conversations as an instruction and its answer: Alpaca, Dolly, prompt/response, prompt/completion, seed tasks."""

from __future__ import annotations

from collections.abc import Callable

from honed.data.forms.held import Record, Row, UnheldError, Written, conversation, each, lost, more, opening, spoken


def _alpaca(record: Record) -> Written:
    row = conversation(record)
    system, turns = opening(row.messages)
    texts = [turn["content"] for turn in spoken(turns)]
    history = {"history": [list(pair) for pair in zip(texts[:-2:2], texts[1:-2:2], strict=True)]} if texts[2:] else {}
    plain_row = {**system, **history, "instruction": texts[-2], "input": "", "output": texts[-1]}
    return {**plain_row, **more(row, "tags", "check")}, lost(row, "weights")


def _dolly(record: Record) -> Written:
    """The category is the tag ``task``, as it is when such a row is read."""
    system, prompt, answer = _pair(record)
    own = {"instruction": prompt, "context": "", "response": answer, "category": record.tags.get("task", "")}
    others = {name: text for name, text in record.tags.items() if name != "task"}
    rest = more(record.model_copy(update={"tags": others}), "tags", "check")
    return {**system, **own, **rest}, lost(record, "weights")


def _seed_task(record: Record) -> Written:
    system, prompt, answer = _pair(record)
    task = record.tags.get("task", "")
    own = {
        "id": f"seed_task_{record.id}",
        "name": task,
        "instruction": prompt,
        "instances": [{"input": "", "output": answer}],
        "is_classification": task == "classification",
    }
    return {**system, **own, **more(record, "tags", "check")}, lost(record, "weights")


def _answered(key: str) -> Callable[[Record], Written]:
    def write(record: Record) -> Written:
        system, prompt, answer = _pair(record)
        return {**system, "prompt": prompt, key: answer, **more(record, "tags", "check")}, lost(record, "weights")

    return write


def _pair(record: Record) -> tuple[Row, str, str]:
    """Return the field ``system``, if there is a system turn, the prompt and its answer."""
    system, turns = opening(conversation(record).messages)
    texts = [turn["content"] for turn in spoken(turns)]
    if len(texts) > 2:
        raise UnheldError("of more than one prompt and answer")
    return system, texts[0], texts[1]


ALPACA = each(_alpaca)
DOLLY = each(_dolly)
PROMPT_RESPONSE = each(_answered("response"))
PROMPT_COMPLETION = each(_answered("completion"))
SEED_TASKS = each(_seed_task)
