"""Follow a later instruction that amends an earlier one, and keep what it did not amend."""

from __future__ import annotations

from random import Random
from typing import Any

from honed.builtin.desk import Audience
from honed.builtin.pools.pool import Pool
from honed.builtin.tasks.constrain import brief, wording
from honed.builtin.tasks.form import faults, render
from honed.builtin.tasks.task import Draft, Task

# What the second turn amends, and which other constraint of the first turn has to be kept.
_KINDS = (
    ("fewer", "ending"),
    ("ending", "bullets"),
    ("nickname", "bullets"),
    ("more", "ending"),
    ("lower", "bullets"),
)


def _write(pool: Pool, rng: Random, audience: Audience, variant: int) -> Draft:  # noqa: ARG001
    amended, kept = _KINDS[variant]
    product = rng.choice(pool.words.products)
    facts = rng.sample(pool.words.facts, 3)
    bullets = {"fewer": 3, "more": 2}.get(amended, 2)
    first: dict[str, Any] = {"topic": product, "facts": [fact.key for fact in facts], "bullets": bullets}
    old, new = rng.sample(pool.words.endings, 2)
    if "ending" in (amended, kept):
        first["ending"] = old
    final, subject = dict(first), f"The {product}"
    kind: str = amended
    value: str | int = new
    if amended in ("fewer", "more"):
        kind, value = "bullets", 5 - bullets
        final["bullets"] = value
    elif amended == "ending":
        final["ending"] = new
    elif amended == "nickname":
        value = subject = rng.choice(pool.words.nicknames)
        final |= {"topic": value, "avoid": product}
    else:
        final["case"] = "lower"
    stated = " ".join(wording(pool, rng, key, first[key]) for key in ("ending", "bullets") if key in first)
    ask = rng.choice(pool.wordings.briefs).format(facts=brief(product, facts), c=stated, p=product)
    reply = render(first, f"The {product}", facts[:bullets])
    change = rng.choice(pool.wordings.amendments[kind]).format(v=value, p=product)
    return Draft((ask, reply, change, render(final, subject, facts[: final["bullets"]])), final)


TASK = Task(
    name="amend",
    benefit="context",
    variants=len(_KINDS),
    needs=frozenset({"topic", "facts"}),
    rule="Write with the given facts, exactly as asked.",
    write=_write,
    faults=faults,
)
verify = TASK.verify
