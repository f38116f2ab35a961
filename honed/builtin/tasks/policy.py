"""Answer a question from a policy paragraph, or say that the policy does not say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from typing import Any

from honed.builtin.desk import Audience
from honed.builtin.pools.pool import Pool
from honed.builtin.tasks.task import Draft, Task
from honed.builtin.text import holds, sentence

_UNSAID = "the policy does not say"
_STATED = 3
# A point inside a number, such as 3.50, does not end a sentence.
_SENTENCE = re.compile(r"(?:[^.!?\n]|[.](?=\d))+[.!]?")


def _write(pool: Pool, rng: Random, audience: Audience, variant: int) -> Draft:  # noqa: ARG001
    topics = rng.sample(pool.wordings.topics, _STATED + 1)
    values = [rng.choice(topic.values) for topic in topics]
    says = [topic.says.format(v=value) for topic, value in zip(topics, values, strict=True)]
    # The variant says which topic the question is about: one of those in the paragraph, or the one left out.
    asked = rng.randrange(_STATED) if variant == 0 else _STATED
    ask = rng.choice(pool.wordings.policy_asks).format(t=" ".join(says[:_STATED]), q=rng.choice(topics[asked].asks))
    if variant == 0:
        others = [value for index, value in enumerate(values[:_STATED]) if index != asked]
        return Draft((ask, says[asked]), {"topic": topics[asked].name, "value": values[asked], "others": others})
    answer = f"{sentence(topics[asked].name)}: {_UNSAID}."
    return Draft((ask, answer), {"topic": topics[asked].name, "value": None, "others": values[:_STATED]})


def _faults(params: Mapping[str, Any], answer: str) -> list[str]:
    topic, value = params["topic"], params["value"]
    found = [f"brings in {other!r}, which was not asked for" for other in params["others"] if holds(answer, other)]
    if _SENTENCE.fullmatch(answer.strip()) is None:
        found.append("is not one sentence")
    unsaid = holds(answer, _UNSAID)
    if value is None:
        if not unsaid:
            found.append("does not say that the policy does not say it")
        if not holds(answer, topic):
            found.append(f"does not name the topic, {topic!r}")
        return found
    if unsaid:
        found.append("claims that the policy does not say what it says")
    if not holds(answer, value):
        found.append(f"lacks {value!r}")
    return found


TASK = Task(
    name="policy",
    benefit="context",
    variants=2,
    needs=frozenset({"topic", "value", "others"}),
    rule=f"Answer in one sentence. If it is not stated, reply with the topic and '{_UNSAID}'.",
    write=_write,
    faults=_faults,
    weight=2.0,
)
verify = TASK.verify
