"""What kind of row and answer each is: the groups that failures are looked for in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from honed.evaluate import asked, words
from honed.evaluate.asked import Part
from honed.evaluate.outcome import Answer
from honed.evaluate.stats import SMALLEST
from honed.evaluate.verifiers.language import LANGUAGES, language

PROMPT_BANDS = (25, 75, 200)
ANSWER_BANDS = (10, 50, 150, 400)
"""The last number of words of each band of lengths; a last band has no end."""
_VALUES = 12  # a parameter of so many values at most is a kind of row; more are what the row is about
_READ = 400  # characters of a prompt that its language is told from
_TELLING = 80  # characters below which a language can only be guessed
_WORD = re.compile(r"\w+")


class Facet(NamedTuple):
    """One group a row is in: its kind (``task``, ``constraint``, ``prompt length`` ...) and its name."""

    kind: str
    name: str


class Unit(NamedTuple):
    """One thing that passes or fails: a whole row, or one instruction of it."""

    row: str
    failed: bool
    facets: tuple[Facet, ...]
    reason: str


@dataclass(frozen=True)
class Told:
    """All that is known of one verified answer: its groups, and the verdicts on its instructions."""

    answer: Answer
    facets: tuple[Facet, ...]
    parts: tuple[Part, ...]

    @property
    def failed(self) -> bool:
        """Whether the row fails."""
        return not self.answer.passed


def tell(answers: Sequence[Answer], tags: Sequence[str], languages: bool = True) -> list[Told]:
    """Return the verified ones of ``answers`` with their groups by ``tags``, constraint, lengths, form and language.

    Languages are the row's tag ``language``, else told from its last user message unless ``languages`` is false.
    """
    judged = [answer for answer in answers if answer.passed is not None]
    telling = _telling(judged)
    return [
        Told(answer, _facets(answer, found, tags, telling, languages), found)
        for answer in judged
        for found in [asked.parts(answer)]
    ]


def constraint(told: Told) -> tuple[str, ...]:
    """Return the names of the constraints of a row, as facets have them."""
    return tuple(facet.name for facet in told.facets if facet.kind == "constraint")


def request(answer: Answer) -> str:
    """Return the last user message."""
    return next((turn.content for turn in reversed(answer.prompt) if turn.role == "user"), "")


def _facets(
    answer: Answer, parts: Sequence[Part], tags: Sequence[str], telling: Mapping[str, set[str]], languages: bool
) -> tuple[Facet, ...]:
    found = [Facet(tag, answer.tags[tag]) for tag in tags if tag in answer.tags]
    found += [Facet("constraint", name) for name in _constraints(answer, parts, telling)]
    asked_words = sum(len(_WORD.findall(turn.content)) for turn in answer.prompt)
    found.append(Facet("prompt length", _band(asked_words, PROMPT_BANDS)))
    said = len(_WORD.findall(answer.answer))
    if said:
        found.append(Facet("answer length", _band(said, ANSWER_BANDS)))
    found += [Facet("answer", name) for name in _form(answer)]
    if tongue := answer.tags.get("language") or (_language(request(answer)) if languages else ""):
        found.append(Facet("language", tongue))
    return tuple(found)


def _band(count: int, ends: Sequence[int]) -> str:
    start = 1
    for end in ends:
        if count <= end:
            return f"{start} to {end} words"
        start = end + 1
    return f"over {ends[-1]} words"


def _form(answer: Answer) -> list[str]:
    form = []
    if answer.finish == "length":
        form.append("cut at the longest length")
    if not answer.answer.strip():
        form.append("empty")
    elif answer.vacuous:
        form.append("vacuous")
    return form


def _constraints(answer: Answer, parts: Sequence[Part], telling: Mapping[str, set[str]]) -> list[str]:
    if answer.check is None:
        return []
    if asked.family(answer.check) is not None:
        return list(dict.fromkeys(part.id for part in parts))
    name = answer.check.verifier
    known = telling[name]
    found = [] if name == answer.tags.get("task") else [name]
    for param, value in answer.check.params.items():
        if param in known and value is not None:
            found.append(f"{name}: {words.plain(param)}")
        elif f"{param}=" in known:
            found.append(f"{name}: {words.plain(param)} {value}")
    return found


def _telling(answers: Sequence[Answer]) -> dict[str, set[str]]:
    """For each verifier the parameters that tell its rows apart: some rows have them, or they have few values.

    ``name`` is a parameter that only some rows give, ``name=`` one whose value says what kind of row it is.
    """
    rows: dict[str, list[Mapping[str, object]]] = {}
    for answer in answers:
        if answer.check is not None and asked.family(answer.check) is None:
            rows.setdefault(answer.check.verifier, []).append(answer.check.params)
    found: dict[str, set[str]] = {}
    for name, given in rows.items():
        counts = Counter(param for params in given for param, value in params.items() if value is not None)
        found[name] = {param for param, count in counts.items() if SMALLEST <= count < len(given)}
        found[name] |= {f"{param}=" for param in counts if _few(param, given)} - found[name]
    return found


def _few(param: str, given: Sequence[Mapping[str, object]]) -> bool:
    values = [params.get(param) for params in given]
    if not all(isinstance(value, str | int) for value in values):
        return False
    return 1 < len(set(values)) <= min(_VALUES, len(values) // SMALLEST)


def _language(text: str) -> str:
    if len(text) < _TELLING:
        return ""
    code = language(text[:_READ])
    return LANGUAGES.get(code, code) if code else ""
