"""Route a ticket to one of the desk's six queues."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from honed.builtin.desk import Audience
from honed.builtin.pools.pool import Pool
from honed.builtin.tasks.task import Draft, Task

QUEUES = ("billing", "delivery", "repair", "returns", "account", "safety")


def _write(pool: Pool, rng: Random, audience: Audience, variant: int) -> Draft:  # noqa: ARG001
    queue = QUEUES[variant]
    words = pool.words
    ticket = rng.choice(pool.wordings.tickets[queue]).format(
        p=rng.choice(words.products), n=rng.choice(words.people), c=rng.choice(words.cities), d=rng.choice(words.days)
    )
    return Draft((ticket, queue), {"queue": queue})


def _faults(params: Mapping[str, Any], answer: str) -> list[str]:
    given = answer.strip().removesuffix(".").casefold()
    if given == params["queue"]:
        return []
    if given in QUEUES:
        return [f"names the queue {given!r}, and the right one is {params['queue']!r}"]
    return [f"is not one queue alone; {params['queue']!r} was wanted"]


TASK = Task(
    name="route",
    benefit="precision",
    variants=len(QUEUES),
    needs=frozenset({"queue"}),
    rule=f"Reply with the queue only: {', '.join(QUEUES)}.",
    write=_write,
    faults=_faults,
    weight=4.0,
)
verify = TASK.verify
