"""Preferences as rows of TRL (``dpo``), of LLaMA-Factory and of Anthropic's HH-RLHF; ratings as TRL's KTO rows."""

from __future__ import annotations

import re

from honed.data.forms.chat import defined, said
from honed.data.forms.held import Record, UnheldError, Written, each, lost, more, opening, plain, spoken
from honed.records import Preference, Rating

_SPEAKER = re.compile(r"\n\n(Human|Assistant):")
"""Where a dialogue is cut into turns when it is read."""
_HUMAN, _ASSISTANT = "\n\nHuman: ", "\n\nAssistant: "


def _preference(record: Record) -> Preference:
    if not isinstance(record, Preference):
        raise UnheldError("that are no preferences")
    return record


def _answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _dpo(record: Record) -> Written:
    pair = _preference(record)
    row = {"prompt": plain(pair.prompt), "chosen": _answer(pair.chosen), "rejected": _answer(pair.rejected)}
    return {**row, **more(pair, "tags", "tools")}, lost(pair)


def _llama_factory(record: Record) -> Written:
    pair = _preference(record)
    sides = {"chosen": {"from": "gpt", "value": pair.chosen}, "rejected": {"from": "gpt", "value": pair.rejected}}
    return {"conversations": said(pair.prompt), **sides, **defined(pair), **more(pair, "tags")}, lost(pair, "call ids")


def _hh(record: Record) -> Written:
    """Each side is the whole dialogue in one text. Its readers cut it where somebody speaks, and blanks with it."""
    pair = _preference(record)
    system, turns = opening(pair.prompt)
    spoken(turns)
    texts = [*(turn.content for turn in turns), pair.chosen, pair.rejected]
    bare = [text.strip() for text in texts]
    if any(_SPEAKER.search(text) for text in bare):
        raise UnheldError("that quote a dialogue of Human and Assistant")
    if bare[-1] == bare[-2]:
        raise UnheldError("whose answers differ in blanks only")
    roles = [turn.role for turn in turns]
    begun = "".join((_HUMAN if role == "user" else _ASSISTANT) + text for role, text in zip(roles, bare, strict=False))
    row = {**system, "chosen": begun + _ASSISTANT + bare[-2], "rejected": begun + _ASSISTANT + bare[-1]}
    lacks = lost(pair, "weights") + (("blanks around texts",) if bare != texts else ())
    return {**row, **more(pair, "tags")}, lacks


def _kto(record: Record) -> Written:
    if not isinstance(record, Rating):
        raise UnheldError("that are no ratings")
    row = {"prompt": plain(record.prompt), "completion": _answer(record.answer), "label": record.good}
    reason = {"reason": record.reason} if record.reason else {}
    return {**row, **reason, **more(record, "tags", "tools")}, lost(record)


DPO = each(_dpo)
LLAMA_FACTORY = each(_llama_factory)
HH = each(_hh)
KTO = each(_kto)
