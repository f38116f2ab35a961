"""Ask exactly one question when the needed detail is missing; note the detail when it is there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from typing import Any

from honed.builtin.desk import Audience
from honed.builtin.pools.pool import Pool
from honed.builtin.tasks.task import Draft, Task
from honed.builtin.text import holds

_DETAILS = ("colour", "size", "day", "city", "order number", "quantity")
_ONE_QUESTION = re.compile(r"[^.!?:\n]+\?")


def _write(pool: Pool, rng: Random, audience: Audience, variant: int) -> Draft:  # noqa: ARG001
    detail, clear = _DETAILS[variant // 2], variant % 2 == 0
    have = pool.words
    values = {
        "colour": have.colours,
        "size": have.sizes,
        "day": have.days,
        "city": have.cities,
        "order number": have.orders,
        "quantity": have.quantities,
    }[detail]
    value = str(rng.choice(values))
    request = rng.choice(pool.wordings.requests[detail])
    request = re.sub(r"\[(.*?)\]", r"\1" if clear else "", request).format(
        v=value,
        p=rng.choice(have.products),
        n=rng.choice(have.people),
        c=rng.choice(have.cities),
        d=rng.choice(have.days),
    )
    ask = rng.choice(pool.wordings.request_asks).format(f=detail, t=request)
    if clear:
        return Draft((ask, f"The {detail} is {value}, noted."), {"detail": detail, "value": value})
    return Draft((ask, f"The {detail} is missing, what is it?"), {"detail": detail, "value": None})


def _faults(params: Mapping[str, Any], answer: str) -> list[str]:
    text, detail, value = answer.strip(), params["detail"], params["value"]
    found = []
    if value is None:
        if not _ONE_QUESTION.fullmatch(text):
            found.append("is not exactly one question and nothing else")
        if not holds(text, detail):
            found.append(f"does not ask for the {detail}")
        return found
    if "?" in text:
        found.append("asks although the detail was given")
    if not text.endswith("noted.") or text.count("noted") > 1:
        found.append("does not end with 'noted.' and say it once")
    if not holds(text, value):
        found.append(f"does not note the {detail} {value!r}")
    return found


TASK = Task(
    name="clarify",
    benefit="misinterpretation",
    variants=2 * len(_DETAILS),
    needs=frozenset({"detail", "value"}),
    rule="State the detail and end with 'noted.' If it is missing, ask one question that names it.",
    write=_write,
    faults=_faults,
    weight=2.0,
)
verify = TASK.verify
