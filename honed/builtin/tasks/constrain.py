"""Pass on given facts within one or two stated constraints: bullets, length, words, ending, case."""

from __future__ import annotations

from random import Random
from typing import Any

from honed.builtin.desk import Audience
from honed.builtin.pools.pool import Fact, Pool
from honed.builtin.tasks.form import faults, render
from honed.builtin.tasks.task import Draft, Task

# The kinds of rows. Words to include come with a length limit, or else repeating the request would pass.
_KINDS = (
    ("bullets",),
    ("max_words", "ending"),
    ("max_words", "include"),
    ("avoid", "bullets"),
    ("lower",),
    ("ending", "bullets"),
    ("max_words", "upper"),
)


def wording(pool: Pool, rng: Random, kind: str, value: Any) -> str:
    """Say one constraint in one of the pool's wordings."""
    return rng.choice(pool.wordings.constraints[kind]).format(v=value, w=value + 1 if kind == "max_words" else value)


def brief(product: str, facts: list[Fact]) -> str:
    """Return the facts about a product as running sentences."""
    return render({}, f"The {product}", facts)


def _value(kind: str, pool: Pool, rng: Random, facts: list[Fact]) -> Any:
    if kind == "bullets":
        return rng.choice((2, 3)) if len(facts) > 3 else 2
    if kind == "max_words":
        return rng.choice((12, 14, 16))
    if kind == "include":
        return rng.choice(pool.words.praise)
    if kind == "avoid":
        return rng.choice(facts).key
    return rng.choice(pool.words.endings) if kind == "ending" else kind


def _write(pool: Pool, rng: Random, audience: Audience, variant: int) -> Draft:  # noqa: ARG001
    kinds = _KINDS[variant]
    product = rng.choice(pool.words.products)
    facts = rng.sample(pool.words.facts, 3 if "bullets" in kinds else 2)
    values = {kind: _value(kind, pool, rng, facts) for kind in kinds}
    form = {"case" if kind in ("lower", "upper") else kind: value for kind, value in values.items()}
    form |= {"topic": product, "facts": [fact.key for fact in facts]}
    told = [fact for fact in facts if fact.key != form.get("avoid")][: form.get("bullets", 1)]
    subject = f"The {form['include']} {product}" if "include" in form else f"The {product}"
    stated = " ".join(wording(pool, rng, kind, value) for kind, value in values.items())
    ask = rng.choice(pool.wordings.briefs).format(facts=brief(product, facts), c=stated, p=product)
    return Draft((ask, render(form, subject, told)), form)


TASK = Task(
    name="constrain",
    benefit="specificity",
    variants=len(_KINDS),
    needs=frozenset({"topic", "facts"}),
    rule="Write with the given facts, exactly as asked.",
    write=_write,
    faults=faults,
)
verify = TASK.verify
