"""The word lists that instructions need: those that a benchmark fixes, and ours to draw training constraints from."""

from __future__ import annotations

from functools import cache
from importlib import resources
from random import Random

ENDINGS = (
    "That is all I know.",
    "I hope this is of use to you.",
    "Shall I go on?",
    "Let me know what you think.",
    "Ask me anything else.",
)

REQUESTS = (
    "Explain how a sailing boat can move against the wind, in words that a child understands.",
    "Write a short note to a neighbour who has lent you a ladder, and thank them for it.",
    "Describe a walk through a market early in the morning, before the first customers come.",
    "Give three reasons why a small company should write down how it answers its customers.",
)


@cache
def listed(name: str) -> tuple[str, ...]:
    """Return the words of ``lexicon/NAME.txt`` in their order."""
    file = resources.files("honed.evaluate.verifiers").joinpath("lexicon", f"{name}.txt")
    return tuple(file.read_text(encoding="utf-8").split())


@cache
def among(name: str) -> frozenset[str]:
    """Return the words of ``lexicon/NAME.txt`` as a set."""
    return frozenset(listed(name))


def keywords(rng: Random, count: int) -> list[str]:
    """Return ``count`` different keywords."""
    return rng.sample(listed("keywords"), count)


def keyword(rng: Random) -> str:
    """Return a keyword."""
    return rng.choice(listed("keywords"))


def request_or_own(rng: Random, request: str) -> str:
    """Return the request, or one of ours where there is none, or too little of it to take a part from."""
    return request if len(request.split()) >= 4 else rng.choice(REQUESTS)
