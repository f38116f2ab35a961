"""Toxic words and phrases, by a short list of ours with what makes each harmless (``toxic.yaml``): counted, reported.

A list finds words, not meanings: it misses what is said politely, and finds quotations. So nothing is dropped unless
the recipe says so.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from importlib import resources
from itertools import chain
from typing import Literal, NamedTuple

import yaml
from pydantic import Field

from honed.config import Config
from honed.data.curate.pieces import of_each
from honed.data.curate.row import UNLEARNED, Finding, Row, Turn
from honed.data.curate.view import View

Kind = Literal["slur", "threat", "self_harm", "insult", "sexual", "profanity"]
KINDS: tuple[Kind, ...] = ("slur", "threat", "self_harm", "insult", "sexual", "profanity")
"""The gravest first: a row is reported under its gravest."""
_NEAR = 60
"""Characters on both sides in which words that make a phrase harmless are looked for."""
_SHOWN = 3


class Toxicity(Config):
    """Settings of the step ``toxicity``."""

    action: Literal["report", "drop"] = Field(default="report", description="what is done about rows with such words")
    kinds: tuple[Kind, ...] = Field(default=KINDS, description=f"kinds that are looked for: {', '.join(KINDS)}")
    turns: Literal["all", "answers"] = Field(
        default="all", description="whether prompts are read too, or answers only, which the model learns to say"
    )


class Match(NamedTuple):
    """A phrase in a text, and its kind."""

    start: int
    kind: str
    words: str


class _Rule(NamedTuple):
    look: re.Pattern[str]
    unless: re.Pattern[str]


def matches(text: str, kinds: tuple[str, ...] = KINDS) -> list[Match]:
    """Return the phrases of ``kinds`` in ``text``, in its order; of two that overlap, the graver one."""
    lower = text.lower().replace("\u2019", "'")
    if not _any().search(lower):
        return []
    found: list[Match] = []
    for kind, rule in _rules().items():
        for one in rule.look.finditer(lower) if kind in kinds else ():
            around = f"{lower[max(0, one.start() - _NEAR) : one.start()]} {lower[one.end() : one.end() + _NEAR]}"
            taken = any(one.start() < other.start + len(other.words) and other.start < one.end() for other in found)
            if not taken and not rule.unless.search(around):
                found.append(Match(one.start(), kind, one[0]))
    return sorted(found)


def toxicity(view: View, settings: Toxicity, _say: Callable[[str], None]) -> Iterator[Finding]:
    """Report rows with toxic words, under the gravest kind of them; or drop them."""
    yield from chain.from_iterable(view.mapped(of_each(partial(_found, settings)), "all"))


def _found(settings: Toxicity, row: Row) -> Iterator[Finding]:
    said: dict[str, Counter[str]] = {}
    for name, turn in _read(row, settings.turns == "answers"):
        for one in matches(turn.content, settings.kinds):
            said.setdefault(one.kind, Counter())[f"{one.words!r} in the {name}"] += 1
    if said:
        kinds = [kind for kind in KINDS if kind in said]
        parts = [f"{said[kind].total()} {kind} ({', '.join(list(said[kind])[:_SHOWN])})" for kind in kinds]
        yield Finding(row.number, row.id, f"toxic: {kinds[0]}", settings.action, "; ".join(parts))


def _read(row: Row, learned: bool) -> Iterator[tuple[str, Turn]]:
    """Yield the turns that are read, with what each is called; ``learned``: only what a model learns to say."""
    for turn in row.before:
        if turn.role == "assistant" or (turn.role != "system" and not learned):
            yield {"assistant": "answer", "user": "prompt"}.get(turn.role, turn.role), turn
    yield from ((name, turn) for name, turn in row.named() if not learned or name not in UNLEARNED)


@lru_cache(1)
def _rules() -> Mapping[str, _Rule]:
    stored = yaml.safe_load(resources.files("honed.data.curate").joinpath("toxic.yaml").read_text("utf-8"))
    return {kind: _Rule(_pattern(_phrases(stored[kind])), _pattern(stored[kind]["unless"])) for kind in KINDS}


@lru_cache(1)
def _any() -> re.Pattern[str]:
    """All phrases at once: most texts have none, and are read once."""
    return re.compile("|".join(rule.look.pattern for rule in _rules().values()))


def _phrases(of: Mapping[str, list[str]]) -> list[str]:
    return [*of.get("phrases", []), *(codecs.decode(one, "rot13") for one in of.get("rot13", []))]


def _pattern(phrases: list[str]) -> re.Pattern[str]:
    words = [re.escape(one).replace(r"\*", r"\w*").replace(r"\|", "|").replace(r"\ ", r"\s+") for one in phrases]
    return re.compile(rf"\b(?:{'|'.join(words)})\b")
