"""Two answers to each prompt, put to a judge in both orders: only a verdict that stands in both is a win."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from honed.evaluate.judge import prompts
from honed.evaluate.judge.answers import Pair
from honed.evaluate.judge.asking import Question
from honed.evaluate.judge.contest import Choice
from honed.evaluate.judge.reply import Said
from honed.evaluate.rates import Rate, rate
from honed.records import Message, Record, digest

VERDICTS = "verdicts.jsonl"

Side = Literal["base", "tuned"]
_ORDERS: tuple[Side, Side] = ("base", "tuned")  # the side that is shown first


class Verdict(Record):
    """One line of ``verdicts.jsonl``. ``choice`` is None where the judge's words are unusable; ``why`` says more.

    ``said`` and ``reasons`` are the judge's choice and reason by the side that it saw first; both are empty where
    nobody had to be asked.
    """

    id: str
    prompt: tuple[Message, ...]
    tags: Mapping[str, str]
    base: str
    tuned: str
    choice: Choice | None
    why: str
    said: Mapping[Side, Choice | None] = {}
    reasons: Mapping[Side, str] = {}


class Order(Record):
    """What the order of the answers did: how often both orders agree, and how often the first one shown is chosen.

    ``first`` counts the single verdicts that prefer an answer, without ties: half of them fairly.
    """

    asked: int
    consistent: Rate | None
    first: Rate | None


def unasked(pair: Pair) -> tuple[Choice, str] | None:
    """Return the verdict that needs no judge, and why; None if one is needed. An empty answer fails everywhere."""
    base, tuned = pair.base.strip(), pair.tuned.strip()
    if base == tuned:
        return "tie", "the answers are the same"
    if not tuned:
        return "base", "the tuned model's answer is empty"
    if not base:
        return "tuned", "the base's answer is empty"
    return None


def questions(pairs: Iterable[Pair], guide: str) -> list[Question]:
    """Return both orders of each pair that needs a judge."""
    found = []
    for pair in pairs:
        if unasked(pair):
            continue
        for first in _ORDERS:
            one, other = (pair.base, pair.tuned) if first == "base" else (pair.tuned, pair.base)
            found.append(Question(_key(pair, first), prompts.pairwise(pair.prompt, one, other, guide)))
    return found


def verdicts(pairs: Iterable[Pair], said: Mapping[str, Said]) -> list[Verdict]:
    """Return each pair's verdict from what was said in both orders."""
    return [_verdict(pair, said) for pair in pairs]


def order(found: Sequence[Verdict]) -> Order:
    """Return what the order of the answers did to the verdicts of pairs that were asked in both."""
    asked = [one.said for one in found if one.said]
    both = [said for said in asked if None not in said.values()]
    firsts = [said[side] == side for said in asked for side in said if said[side] not in (None, "tie")]
    return Order(
        asked=len(asked),
        consistent=rate(said["base"] == said["tuned"] for said in both) if both else None,
        first=rate(firsts) if firsts else None,
    )


def _key(pair: Pair, first: Side) -> str:
    answers = digest([pair.base, pair.tuned])  # a file may have changed since an earlier attempt of the job
    return f"{pair.id}/{answers}/{first} first"


def _verdict(pair: Pair, said: Mapping[str, Said]) -> Verdict:
    shown = Verdict(
        id=pair.id, prompt=pair.prompt, tags=pair.tags, base=pair.base, tuned=pair.tuned, choice=None, why=""
    )
    if known := unasked(pair):
        return shown.model_copy(update={"choice": known[0], "why": known[1]})
    replies = {first: said[_key(pair, first)] for first in _ORDERS}
    choices = {first: _choice(reply, first) for first, reply in replies.items()}
    asked = shown.model_copy(
        update={"said": choices, "reasons": {side: one.reason or one.unusable for side, one in replies.items()}}
    )
    if faults := [f"{first} first: {one.unusable}" for first, one in replies.items() if one.unusable]:
        return asked.model_copy(update={"why": f"unusable: {'; '.join(faults)}"})
    one, other = choices.values()
    if one == other:
        return asked.model_copy(update={"choice": one, "why": "both orders agree"})
    return asked.model_copy(update={"choice": "tie", "why": f"the orders disagree: {one}, then {other}"})


def _choice(said: Said, first: Side) -> Choice | None:
    if said.unusable or said.verdict is None:
        return None
    if said.verdict == "tie":
        return "tie"
    other: Side = "tuned" if first == "base" else "base"
    return first if said.verdict == "A" else other
