"""Ordinary rows read many at once, by their columns: what ``plain.read`` says of each, at a small part of its cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import compress, repeat
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from honed.data.shapes import plain
from honed.data.shapes.plain import AFTER, LISTS, PAIRS, ROLES, Plan
from honed.data.shapes.reading import EMPTY
from honed.data.shapes.single import PROMPTS, holds
from honed.records import ATTRIBUTES, Role

_GROUPS = 16
"""Different sets of fields in a block, at most, that are read by columns; rows with others are read one by one."""
_PERSONAL = frozenset(ATTRIBUTES)
SHAPES = frozenset({*PAIRS, *LISTS})
"""The shapes whose rows can be read so."""


class Several(NamedTuple):
    """Some rows with the same fields: ``places`` among those given, and their turns one row after another.

    The turns of row i are ``texts[ends[i - 1]:ends[i]]``, said by ``roles``; ``tags`` are its tags as JSON. ``extra``
    is a field that the rows at ``with_extra`` have too.
    """

    places: Sequence[int]
    roles: Sequence[Role]
    texts: Sequence[str]
    ends: Sequence[int]
    tags: Sequence[str]
    fields: tuple[str, ...]
    extra: str
    with_extra: Sequence[int]
    ignored: tuple[str, ...]


def read(values: Sequence[Mapping[str, Any] | None], shape: str) -> list[Several]:
    """Return the rows in which nothing is out of the ordinary; those of ``values`` that aren't in it need care."""
    groups: dict[tuple[str, ...], list[int]] = {}
    fields: list[tuple[str, ...]] = [tuple(value) if value else () for value in values]
    if len(set(fields)) == 1:
        groups[fields[0]] = list(range(len(fields)))
    else:
        for place, keys in enumerate(fields):
            groups.setdefault(keys, []).append(place)
    found = []
    for keys, places in list(groups.items())[:_GROUPS]:
        plan = plain.plan(shape, keys)
        if plan and not _PERSONAL.isdisjoint(plan.tags):
            continue  # where each was declared is told row by row
        if plan and (several := _read([values[place] for place in places], places, (keys, plan, shape))).places:
            found.append(several)
    return found


def _read(values: Sequence[Any], places: list[int], how: tuple[tuple[str, ...], Plan, str]) -> Several:
    keys, plan, shape = how
    columns = dict(zip(keys, zip(*map(dict.values, values), strict=True), strict=True))
    fit = [True] * len(values)
    for name in plan.rare:
        column = columns[name]
        if column.count("") + column.count(None) < len(column):
            _only(fit, [one in EMPTY for one in column])
    for name in plan.tags:
        if set(map(type, columns[name])) != {str}:
            _only(fit, [type(one) is str for one in columns[name]])
    if plan.answer:
        for name in (plan.asked, plan.answer):
            if not _all_plain(columns[name]):
                _only(fit, list(map(plain.is_plain, columns[name])))
        if plan.more:
            _only(fit, list(map(_may_follow, columns[plan.more], columns[plan.asked], repeat(plan.asked in PROMPTS))))
    else:
        _only(fit, [_in_order(one, *LISTS[shape][1:]) for one in columns[plan.asked]])
    if not all(fit):
        places = list(compress(places, fit))
        columns = {name: tuple(compress(column, fit)) for name, column in columns.items()}
    return _pairs(columns, places, plan) if plan.answer else _turns(columns, places, plan, shape)


def _may_follow(more: Any, asked: Any, alone: bool) -> bool:
    """Tell whether an input is nothing, or a text; behind a prompt (``alone``) one that this doesn't hold already."""
    if more in EMPTY:
        return True
    return type(more) is str and "\0" not in more and not (alone and type(asked) is str and holds(asked, more))


def _only(fit: list[bool], also: list[bool]) -> None:
    if not all(also):
        fit[:] = [one and other for one, other in zip(fit, also, strict=True)]


def _all_plain(column: Sequence[Any]) -> bool:
    return set(map(type, column)) == {str} and all(column) and not any(map(str.isspace, column)) and (
        "\0" not in "".join(column)
    )  # fmt: skip


def _pairs(columns: Mapping[str, Sequence[Any]], places: list[int], plan: Plan) -> Several:
    asked, answers = columns[plan.asked], columns[plan.answer]
    with_extra: list[int] = []
    if plan.more:
        more = columns[plan.more]
        with_extra = list(compress(places, more))
        asked = [f"{one}\n{other}" if other else one for one, other in zip(asked, more, strict=True)]
    texts = [""] * (2 * len(places))
    texts[::2], texts[1::2] = asked, answers
    roles: list[Role] = ["user", "assistant"]
    ends = range(2, len(texts) + 1, 2)
    fields = (plan.asked, plan.answer)
    return Several(
        places, roles * len(places), texts, ends, _tags(columns, plan), fields, plan.more, with_extra, plan.ignored
    )


def _turns(columns: Mapping[str, Sequence[Any]], places: list[int], plan: Plan, shape: str) -> Several:
    _, says, text_key = LISTS[shape]
    flat = [turn for turns in columns[plan.asked] for turn in turns]
    roles = [ROLES[role] for role in map(itemgetter(says), flat)]
    ends: list[int] = []
    end = 0
    for turns in columns[plan.asked]:
        end += len(turns)
        ends.append(end)
    texts = list(map(itemgetter(text_key), flat))
    return Several(places, roles, texts, ends, _tags(columns, plan), (plan.asked,), "", (), plan.ignored)


def _in_order(turns: Any, says: str, text_key: str) -> bool:
    """Tell whether a list of turns is what ``plain`` reads: texts of known roles that take turns."""
    if type(turns) is not list:
        return False
    before: str = ""
    for turn in turns:
        if type(turn) is not dict or len(turn) != 2:
            return False
        role = turn.get(says)
        known = ROLES.get(role) if type(role) is str else None
        if known is None or not plain.is_plain(turn.get(text_key)) or known not in AFTER[before]:
            return False
        before = known
    return before == "assistant"


def _tags(columns: Mapping[str, Sequence[Any]], plan: Plan) -> Sequence[str]:
    if not plan.tags:
        return ["{}"] * len(columns[plan.asked])
    return [_tag(plan.tags, given) for given in zip(*[columns[name] for name in plan.tags], strict=True)]


@lru_cache(4096)
def _tag(names: tuple[str, ...], given: tuple[str, ...]) -> str:
    """Return tags as the JSON in which they are stored; most rows have one of a few sets of them."""
    tags = plain.tagged(zip(names, given, strict=True))
    return orjson.dumps(tags, option=orjson.OPT_SORT_KEYS).decode()
