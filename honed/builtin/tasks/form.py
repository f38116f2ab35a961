"""The form of an answer: bullets, length, required and forbidden words, ending, case. Shared by constrain and amend.

A form is a mapping of JSON values: ``topic`` (a name the answer must mention), ``facts`` (the key words of the given
facts) and any of ``bullets``, ``max_words``, ``include``, ``avoid``, ``ending`` and ``case`` (``lower`` | ``upper``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from honed.builtin.pools.pool import Fact
from honed.builtin.text import holds, words

_BULLET = re.compile(r"^\s*[-*•]\s+(?=\S)")


def render(form: Mapping[str, Any], subject: str, facts: Sequence[Fact]) -> str:
    """Write ``facts`` about ``subject`` (such as "The Dewpot") in the given form."""
    lines = [f"{subject if index == 0 else 'It'} {fact.says}." for index, fact in enumerate(facts)]
    text = "\n".join(f"- {line}" for line in lines) if "bullets" in form else " ".join(lines)
    if "ending" in form:
        text += ("\n" if "bullets" in form else " ") + form["ending"]
    case = form.get("case")
    return text.lower() if case == "lower" else text.upper() if case == "upper" else text


def faults(form: Mapping[str, Any], answer: str) -> list[str]:
    """Return what ``answer`` lacks of ``form``, as verb phrases; empty when it has everything."""
    found = []
    if not holds(answer, form["topic"]):
        found.append(f"does not mention {form['topic']!r}")
    if "max_words" in form and len(words(answer)) > form["max_words"]:
        found.append(f"has {len(words(answer))} words where at most {form['max_words']} are allowed")
    if "include" in form and not holds(answer, form["include"]):
        found.append(f"lacks the word {form['include']!r}")
    if "avoid" in form and holds(answer, form["avoid"]):
        found.append(f"has the forbidden word {form['avoid']!r}")
    if "ending" in form and not answer.strip().endswith(form["ending"]):
        found.append(f"does not end with {form['ending']!r}")
    if "case" in form and answer != (answer.lower() if form["case"] == "lower" else answer.upper()):
        found.append(f"is not all in {form['case']} case")
    lines = [line.strip() for line in re.split(r"(?<=[.!?])\s+|\n", answer) if line.strip()]
    if len(set(lines)) < len(lines):
        found.append("says a sentence twice")
    return found + (_bullet_faults(form, answer) if "bullets" in form else _fact_faults(form, answer))


def _fact_faults(form: Mapping[str, Any], answer: str) -> list[str]:
    return [] if any(holds(answer, key) for key in form["facts"]) else ["states none of the given facts"]


def _bullet_faults(form: Mapping[str, Any], answer: str) -> list[str]:
    lines = [line for line in answer.strip().splitlines() if line.strip()]
    if "ending" in form and lines and lines[-1].strip() == form["ending"]:
        lines.pop()
    bullets = [line for line in lines if _BULLET.match(line)]
    if len(bullets) != form["bullets"]:
        return [f"has {len(bullets)} bullets where exactly {form['bullets']} are asked for"]
    if len(bullets) < len(lines):
        return ["has lines that are neither bullets nor the ending"]
    stated: set[str] = set()
    for bullet in bullets:
        new = {key for key in form["facts"] if holds(bullet, key)} - stated
        if not new:
            return ["has a bullet that states no given fact, or one that was already stated"]
        stated |= new
    return []
