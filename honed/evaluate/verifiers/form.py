"""IFEval: the form of an answer: bullets, highlights, placeholders, sections, a title, a postscript, JSON, choices."""

from __future__ import annotations

import json
import re

from pydantic import Field

from honed.evaluate.verifiers.instruction import Instruction, Params, fixed, plain, said
from honed.evaluate.verifiers.keywords import Word
from honed.records import Score

CHOICES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
"""What ``constrained_response`` allows; the benchmark fixes it."""


class Placeholders(Params):
    """How many placeholders in square brackets, at least."""

    num_placeholders: int = Field(ge=0)


class Bullets(Params):
    """How many Markdown bullets, exactly."""

    num_bullets: int = Field(ge=0)


class Highlights(Params):
    """How many passages between asterisks, at least."""

    num_highlights: int = Field(ge=0)


class Sections(Params):
    """How many sections, at least, and the word that opens each before its number."""

    section_spliter: Word
    num_sections: int = Field(ge=0)


class Postscript(Params):
    """What the postscript starts with."""

    postscript_marker: Word


def _placeholders(params: Placeholders, answer: str) -> Score:
    count = sum(_closed(line) for line in answer.split("\n"))
    return said(count >= params.num_placeholders, f"{count} placeholders of at least {params.num_placeholders}")


def _bullets(params: Bullets, answer: str) -> Score:
    stars = re.findall(r"^[^\S\n]*\*[^*].*$", answer, re.MULTILINE)
    count = len(stars) + len(re.findall(r"^[^\S\n]*-", answer, re.MULTILINE))
    return said(count == params.num_bullets, f"{count} bullets, and exactly {params.num_bullets} are asked for")


def _highlights(params: Highlights, answer: str) -> Score:
    single = [text for text in re.findall(r"\*([^\n*]*)\*", answer) if text.strip()]
    double = [text for text in re.findall(r"\*\*([^\n*]*)\*\*", answer) if text.strip()]
    count = len(single) + len(double)
    return said(count >= params.num_highlights, f"{count} highlighted passages of at least {params.num_highlights}")


def _sections(params: Sections, answer: str) -> Score:
    count = len(re.findall(rf"{re.escape(params.section_spliter)}\s?\d+", answer))
    fact = f"{count} sections opened by {params.section_spliter!r} and a number, of at least {params.num_sections}"
    return said(count >= params.num_sections, fact)


def _postscript(params: Postscript, answer: str) -> Score:
    marker = params.postscript_marker
    patterns = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    found = re.search(patterns.get(marker, re.escape(marker.lower())), answer.lower())
    return said(found is not None, f"there is {'a' if found else 'no'} postscript marked {marker}")


def _title(answer: str) -> Score:
    found = any(_titled(line) for line in answer.split("\n"))
    return said(found, f"there is {'a' if found else 'no'} title in double angular brackets")


def _closed(line: str) -> int:
    """Count the square brackets of a line that are closed in it; one that opens within another is part of it."""
    count, at = 0, line.find("[")
    while at >= 0 and (end := line.find("]", at)) >= 0:
        count, at = count + 1, line.find("[", end)
    return count


def _titled(line: str) -> bool:
    start, end = line.find("<<"), line.rfind(">>")
    return 0 <= start < end - 2 and bool(line[start : end + 2].lstrip("<").rstrip(">").strip())


def _json(answer: str) -> Score:
    text = answer.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError) as error:
        return said(False, f"not JSON: {str(error) or 'nested too deeply'}")
    return said(True, "the answer is JSON")


def _choice(answer: str) -> Score:
    found = next((choice for choice in CHOICES if choice in answer), None)
    return said(found is not None, f"the answer says {found!r}" if found else "the answer has none of the choices")


FORM = (
    Instruction(
        "detectable_content:number_placeholders",
        Placeholders,
        _placeholders,
        lambda params: f"Leave at least {params.num_placeholders} placeholders in square brackets, such as [name].",
        plain(lambda rng: Placeholders(num_placeholders=rng.randint(1, 5))),
    ),
    Instruction(
        "detectable_content:postscript",
        Postscript,
        _postscript,
        lambda params: f"Add a postscript at the end that starts with {params.postscript_marker}",
        plain(lambda rng: Postscript(postscript_marker=rng.choice(("P.S.", "P.P.S")))),
    ),
    Instruction(
        "detectable_format:number_bullet_lists",
        Bullets,
        _bullets,
        lambda params: f'Give exactly {params.num_bullets} bullet points in Markdown, each starting with "* ".',
        plain(lambda rng: Bullets(num_bullets=rng.randint(2, 6))),
    ),
    Instruction(
        "detectable_format:number_highlighted_sections",
        Highlights,
        _highlights,
        lambda params: f"Highlight at least {params.num_highlights} passages in Markdown, *like this*.",
        plain(lambda rng: Highlights(num_highlights=rng.randint(1, 4))),
    ),
    Instruction(
        "detectable_format:multiple_sections",
        Sections,
        _sections,
        lambda params: (
            f"Divide the answer into {params.num_sections} sections, the first headed "
            f'"{params.section_spliter} 1", the next "{params.section_spliter} 2", and so on.'
        ),
        plain(
            lambda rng: Sections(
                section_spliter=rng.choice(("Section", "SECTION", "Part", "Chapter")), num_sections=rng.randint(2, 5)
            )
        ),
    ),
    fixed("detectable_format:title", _title, "Give the answer a title in double angular brackets, <<like this>>."),
    fixed(
        "detectable_format:json_format", _json, "Answer with nothing but JSON; it may stand between Markdown fences."
    ),
    fixed(
        "detectable_format:constrained_response",
        _choice,
        f"Answer with one of these sentences: {' / '.join(CHOICES)}",
    ),
)
