"""Preferences as DPO rows and ratings as KTO rows, as TRL reads them: turns of the prompt, then of the answers."""

from __future__ import annotations

from honed.data.forms.held import Form, Record, UnheldError, Written, lost, more, plain
from honed.records import Preference, Rating


def _answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _dpo(record: Record) -> Written:
    if not isinstance(record, Preference):
        raise UnheldError("that are no preferences")
    row = {"prompt": plain(record.prompt), "chosen": _answer(record.chosen), "rejected": _answer(record.rejected)}
    return {**row, **more(record, "tags", "tools")}, lost(record)


def _kto(record: Record) -> Written:
    if not isinstance(record, Rating):
        raise UnheldError("that are no ratings")
    row = {"prompt": plain(record.prompt), "completion": _answer(record.answer), "label": record.good}
    reason = {"reason": record.reason} if record.reason else {}
    return {**row, **reason, **more(record, "tags", "tools")}, lost(record)


DPO = Form(_dpo)
KTO = Form(_kto)
