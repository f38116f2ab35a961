"""Records as annotation tools take them: the prompt to be seen, and our answer proposed to each question.

A conversation asks for ``response`` (a text), a preference for ``preference`` (``a`` or ``b``; the hash decides
which is which, so that the better answer isn't always the first), a rating for ``good`` (``good`` or ``bad``).
Label Studio: tasks with predictions (labelstud.io, "Import pre-annotated data"). Argilla: the records that
``Dataset.records.to_json`` of its version 2 writes.
"""

from __future__ import annotations

from typing import Any

from honed.data.forms.held import Record, Row, Written, each, lost, more, plain, spoken, tools
from honed.data.shapes.annotated import BAD, GOOD
from honed.records import Conversation, Preference

_TEXT = {"response": True, "reason": True, "preference": False, "good": False}
"""Questions: whether each is answered by a text, or by a choice."""


def _asked(record: Record) -> tuple[Row, dict[str, str]]:
    """Return the texts to be seen besides the prompt, and our answer to each question."""
    if isinstance(record, Conversation):
        return {}, {"response": record.answer}
    if isinstance(record, Preference):
        first, second = (record.chosen, record.rejected) if _first(record) else (record.rejected, record.chosen)
        return {"response_a": first, "response_b": second}, {"preference": "a" if _first(record) else "b"}
    reason = {"reason": record.reason} if record.reason else {}
    return {"response": record.answer}, {"good": GOOD if record.good else BAD, **reason}


def _first(record: Preference) -> bool:
    return int(record.id, 16) % 2 == 0


def _label_studio(record: Record) -> Written:
    seen, answers = _asked(record)
    lacks = lost(record)
    if isinstance(record, Conversation):
        last = record.messages[-1]
        if last.tool_calls:
            spoken([last])
        lacks += ("the answer's weight",) if last.weight != 1 else ()
    data = {"messages": plain(record.prompt), **seen, **more(record, "tags", "check", "tools")}
    result = [
        {
            "id": name,
            "from_name": name,
            "to_name": "messages",
            "type": "textarea" if _TEXT[name] else "choices",
            "value": {"text": [text]} if _TEXT[name] else {"choices": [text]},
        }
        for name, text in answers.items()
    ]
    return {"data": data, "predictions": [{"model_version": "honed", "result": result}]}, lacks


def _argilla(record: Record) -> Written:
    seen, answers = _asked(record)
    if isinstance(record, Conversation):
        spoken(record.messages)
    fields: dict[str, Any] = {"messages": spoken(record.prompt), **seen}
    proposed = {name: {"value": text, "score": None, "agent": "honed"} for name, text in answers.items()}
    lacks = lost(record, "weights", "check", "declared") + (("tools",) if tools(record) else ())
    row = {"id": record.id, "fields": fields, "metadata": dict(record.tags), "suggestions": proposed}
    return {**row, "responses": {}, "vectors": {}}, lacks


LABEL_STUDIO = each(_label_studio, array=True)
ARGILLA = each(_argilla, array=True)
