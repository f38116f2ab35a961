"""Rows in which nothing is out of the ordinary, read at once: most of a large file.

``read`` gives what ``table.read`` would, or None: wherever anything is doubtful, the careful reader decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from honed.data.shapes import single
from honed.data.shapes.drawn import Drawn
from honed.data.shapes.reading import COMMON, EMPTY, LOSS_WEIGHT, TAGS
from honed.data.shapes.turns import Turn
from honed.records import Role

PAIRS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], frozenset[str]]] = {
    "alpaca": (single.INSTRUCTIONS, single.OUTPUTS, single.ALPACA_FIELDS),
    "dolly": (single.INSTRUCTIONS, single.OUTPUTS, single.ALPACA_FIELDS),
    "prompt-response": (single.PROMPTS, single.ANSWERS, single.PROMPT_FIELDS),
}
LISTS: Mapping[str, tuple[str, str, str]] = {
    "messages": ("messages", "role", "content"),
    "sharegpt": ("conversations", "from", "value"),
}
ROLES: Mapping[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}


class Plain(NamedTuple):
    """A row that was read: its conversation, and what there is to count."""

    drawn: Drawn
    fields: tuple[str, ...]
    extra: str
    ignored: tuple[str, ...]


class Plan(NamedTuple):
    """How rows with one set of fields are read. ``rare`` are fields that have to be empty here."""

    asked: str
    more: str
    answer: str
    rare: tuple[str, ...]
    tags: tuple[str, ...]
    ignored: tuple[str, ...]


def read(value: Mapping[str, Any], shape: str) -> Plain | None:
    """Return the row as it was read, or None if it has to be read with care."""
    how = plan(shape, tuple(value))
    if how is None:
        return None
    for name in how.rare:
        if value[name] not in EMPTY:
            return None
    for name in how.tags:
        if type(value[name]) is not str:
            return None
    tags = tagged((name, value[name]) for name in how.tags)
    return _pair(value, how, tags) if how.answer else _turns(value, how, tags, *LISTS[shape][1:])


def tagged(texts: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the tags that fields and their texts make."""
    tags = {name: text for name, text in texts if text}
    if "category" in tags and "task" not in tags:
        tags["task"] = tags.pop("category")
    return tags


def _pair(value: Mapping[str, Any], plan: Plan, tags: dict[str, str]) -> Plain | None:
    asked, answer = value[plan.asked], value[plan.answer]
    if not (is_plain(asked) and is_plain(answer)):
        return None
    extra = ""
    if plan.more and (more := value[plan.more]) not in EMPTY:
        if type(more) is not str or "\0" in more or (plan.asked in single.PROMPTS and single.holds(asked, more)):
            return None
        asked, extra = f"{asked}\n{more}", plan.more
    turns = (Turn("user", asked, (plan.asked,)), Turn("assistant", answer, (plan.answer,)))
    return Plain(Drawn(turns, tags), (plan.asked, plan.answer), extra, plan.ignored)


def _turns(value: Mapping[str, Any], plan: Plan, tags: dict[str, str], says: str, text_key: str) -> Plain | None:
    entries = value[plan.asked]
    if type(entries) is not list:
        return None
    turns: list[Turn] = []
    before = ""
    for place, entry in enumerate(entries):
        if type(entry) is not dict or len(entry) != 2:
            return None
        role, text = entry.get(says), entry.get(text_key)
        known = ROLES.get(role) if type(role) is str else None
        if known is None or type(text) is not str or not is_plain(text) or known not in AFTER[before]:
            return None
        turns.append(Turn(known, text, (plan.asked, place, text_key)))
        before = known
    if before != "assistant":
        return None
    return Plain(Drawn(tuple(turns), tags), (plan.asked,), "", plan.ignored)


AFTER: Mapping[str, tuple[str, ...]] = {
    "": ("user", "system"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user",),
}


def is_plain(text: Any) -> bool:
    """Tell texts that say something and hold no NUL."""
    return type(text) is str and text != "" and not text.isspace() and "\0" not in text


_CAREFUL = frozenset({"tags", "check", "declared", LOSS_WEIGHT})
"""Fields whose values must be looked into."""


@lru_cache(4096)
def plan(shape: str, keys: tuple[str, ...]) -> Plan | None:
    """Return how rows with these fields are read, if they can be; each set of fields is looked at once."""
    if not _CAREFUL.isdisjoint(keys):
        return None
    tags = tuple(name for name in TAGS if name in keys)
    if shape in LISTS:
        key = LISTS[shape][0]
        rare = tuple(name for name in ("system", "tools", "functions") if name in keys)
        ignored = tuple(name for name in keys if name != key and name not in COMMON and name not in TAGS)
        return Plan(key, "", "", rare, tags, ignored) if key in keys else None
    if shape not in PAIRS:
        return None
    prompts, answers, known = PAIRS[shape]
    asked, answer, more = (tuple(name for name in names if name in keys) for names in (prompts, answers, single.INPUTS))
    if len(asked) != 1 or len(answer) != 1 or len(more) > 1:
        return None
    if more and shape == "prompt-response" and not set(single.INSTRUCTIONS).isdisjoint(keys):
        return None  # the input may be that of the instruction
    names = ("system", "tools", "functions", *(("history",) if shape != "prompt-response" else ()))
    rare = tuple(name for name in names if name in keys)
    ignored = tuple(name for name in keys if name not in known and name not in COMMON and name not in TAGS)
    return Plan(asked[0], more[0] if more else "", answer[0], rare, tags, ignored)
