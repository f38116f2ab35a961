"""Extract named fields of a note as one JSON object."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from random import Random
from typing import Any

from honed.builtin.desk import Audience
from honed.builtin.pools.pool import Pool
from honed.builtin.tasks.task import Draft, Task

# Which share of a note's fields is asked for: short rows first, and never a single field.
_COUNTS = (2, 3, 2)


def _write(pool: Pool, rng: Random, audience: Audience, variant: int) -> Draft:  # noqa: ARG001
    words = pool.words
    note = rng.choice(pool.wordings.records)
    values: dict[str, str | int] = {
        "name": rng.choice(words.people),
        "product": rng.choice(words.products),
        "city": rng.choice(words.cities),
        "day": rng.choice(words.days),
        "colour": rng.choice(words.colours),
        "order": rng.choice(words.orders),
        "quantity": rng.choice(words.quantities),
    }
    slots = [name for _, name, _, _ in string.Formatter().parse(note) if name]
    fields = rng.sample(slots, _COUNTS[variant])
    wanted = {field: values[field] for field in fields}
    ask = rng.choice(pool.wordings.record_asks).format(f=", ".join(fields), t=note.format(**values))
    return Draft((ask, json.dumps(wanted, ensure_ascii=False)), {"fields": wanted})


def _parse(answer: str) -> Any:
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return None


def _plain(value: object) -> str | None:
    """A string or a whole number as text with single spaces; anything else has no plain form (nor has a boolean)."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    try:
        return " ".join(str(value).split())
    except ValueError:  # Python refuses to print an integer of thousands of digits
        return None


def _faults(params: Mapping[str, Any], answer: str) -> list[str]:
    given = _parse(answer)
    wanted: Mapping[str, Any] = params["fields"]
    if not isinstance(given, dict):
        return ["is not one JSON object"]
    found = [f"lacks the key {key!r}" for key in wanted if key not in given]
    found += [f"has the unasked key {key!r}" for key in given if key not in wanted]
    for key, value in wanted.items():
        if key in given and _plain(given[key]) != _plain(value):
            found.append(f"has the wrong value for {key!r}, where {value!r} is right")
    return found


TASK = Task(
    name="extract",
    benefit="precision",
    variants=len(_COUNTS),
    needs=frozenset({"fields"}),
    rule="Reply with JSON only.",
    write=_write,
    faults=_faults,
)
verify = TASK.verify
