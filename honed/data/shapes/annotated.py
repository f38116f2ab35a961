"""Rows as annotation tools keep them, Label Studio's tasks and Argilla's records: what was said last, or suggested."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from honed.data.shapes import compared
from honed.data.shapes.reading import Reading

Answer = Callable[[str], Any]
"""From the name of a question to what was answered, or else suggested; None if neither."""

GOOD, BAD = "good", "bad"
_TASK_FIELDS = (
    "data annotations predictions id meta drafts created_at updated_at inner_id total_annotations project "
    "updated_by cancelled_annotations total_predictions comment_count unresolved_comment_count "
    "last_comment_updated_at comment_authors file_upload"
)
LABEL_STUDIO_FIELDS = frozenset(_TASK_FIELDS.split())
ARGILLA_FIELDS = frozenset({"id", "fields", "metadata", "suggestions", "responses", "vectors", "status", "_server_id"})


def label_studio(reading: Reading) -> None:
    """Make a record of a task of Label Studio: its newest annotation holds, and a prediction where there is none."""
    data = reading.value.get("data")
    reading.fields = ("data",)
    if not isinstance(data, dict):
        reading.wrong(("data",), "wrong type", "an object is needed here", "Write what Label Studio exports.")
        return
    _read(reading, data, _task_answer(reading.value), ("data", "annotations"))


def argilla(reading: Reading) -> None:
    """Make a record of a record of Argilla: its first response holds, and a suggestion where there is none."""
    fields, metadata = reading.value.get("fields"), reading.value.get("metadata")
    reading.fields = ("fields",)
    if not isinstance(fields, dict):
        reading.wrong(("fields",), "wrong type", "an object is needed here", "Write what Argilla exports.")
        return
    tags = {name: str(value) for name, value in metadata.items()} if isinstance(metadata, dict) else {}
    _read(reading, {**fields, "tags": tags}, _record_answer(reading.value), ("fields", "responses"))


def _read(reading: Reading, data: Mapping[str, Any], answer: Answer, places: tuple[str, str]) -> None:
    row = {name: data[name] for name in ("tags", "check", "tools") if data.get(name)}
    prompt, response = data.get("messages"), answer("response")
    if prompt is None and isinstance(data.get("prompt"), str):
        prompt = [{"role": "user", "content": data["prompt"]}]
    if not isinstance(prompt, list):
        hint = "A task has the prompt's turns under 'messages'."
        reading.wrong((places[0], "messages"), "missing field", "there is no list 'messages'", hint)
        return
    verdict, better = answer("good"), answer("preference")
    inner = Reading(row)
    if better in ("a", "b"):
        sides = ("response_a", "response_b") if better == "a" else ("response_b", "response_a")
        row |= {"prompt": prompt, "chosen": data.get(sides[0]), "rejected": data.get(sides[1])}
        compared.preference(inner)
    elif verdict in (GOOD, BAD):
        turns = [*prompt, {"role": "assistant", "content": data.get("response")}]
        row |= {"messages": turns, "good": verdict == GOOD, "reason": answer("reason") or ""}
        compared.rating(inner)
    elif isinstance(response, str):
        row["messages"] = [*prompt, {"role": "assistant", "content": response}]
        inner.conversations(inner.turns_of(row["messages"], ("messages",)))
    else:
        what = "there is neither an answer nor a suggestion to one of: response, preference, good"
        reading.wrong((places[1],), "not annotated", what, "Annotate it, or remove it.")
    reading.records, reading.said = inner.records, inner.said
    reading.problems += [one._replace(path=(places[0], *one.path)) for one in inner.problems]
    reading.doubts = [one._replace(path=(places[0], *one.path)) for one in inner.doubts]


def _task_answer(task: Mapping[str, Any]) -> Answer:
    def answer(question: str) -> Any:
        for key in ("annotations", "predictions"):
            for one in reversed(_objects(task.get(key))):
                for result in _objects(one.get("result")) if not one.get("was_cancelled") else []:
                    if result.get("from_name") == question and (found := _value(result.get("value"))) is not None:
                        return found
        return None

    return answer


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        for key in ("text", "choices"):
            if isinstance(found := value.get(key), list) and found:
                return found[0]
            if isinstance(found, str):
                return found
    return None


def _record_answer(record: Mapping[str, Any]) -> Answer:
    def answer(question: str) -> Any:
        said, proposed = record.get("responses"), record.get("suggestions")
        for one in _objects(said.get(question)) if isinstance(said, dict) else []:
            if one.get("value") is not None:
                return one["value"]
        suggestion = proposed.get(question) if isinstance(proposed, dict) else None
        return suggestion.get("value") if isinstance(suggestion, dict) else None

    return answer


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
