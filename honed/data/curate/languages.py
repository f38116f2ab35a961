"""Languages: rows by the language of their answers, as far as script and commonest words tell (``data.language``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

from pydantic import Field

from honed.config import Config
from honed.data.curate.pieces import of_rows
from honed.data.curate.row import Finding, Row
from honed.data.curate.view import View
from honed.data.language import language, mismatch

UNCLEAR = "unclear"


class Languages(Config):
    """Settings of the step ``languages``."""

    keep: tuple[str, ...] = Field(
        default=(), description="languages of answers that stay, such as English, German, unclear; all if none is named"
    )
    action: Literal["drop", "report"] = Field(default="drop", description="what is done about rows in another language")


def languages(view: View, settings: Languages, say: Callable[[str], None]) -> Iterator[Finding]:
    """Count the languages of answers, drop those not in ``keep``, report prompts answered in another language.

    Texts that are too short or mixed to tell are ``unclear``; they go only if ``keep`` names languages, not them.
    """
    counts: Counter[str] = Counter()
    for some, findings in view.mapped(of_rows(partial(_told, settings))):
        counts.update(some)
        yield from findings
    say("answers: " + ", ".join(f"{count:,} {name}" for name, count in counts.most_common()))


def _told(settings: Languages, rows: Iterator[Row]) -> tuple[Counter[str], list[Finding]]:
    counts: Counter[str] = Counter()
    findings = []
    for row in rows:
        answer = row.turns[-1].content
        found = language(answer) or UNCLEAR
        counts[found] += 1
        if settings.keep and found not in settings.keep:
            what = f"the answer's language is {found}, which isn't among {', '.join(settings.keep)}"
            findings.append(Finding(row.number, row.id, f"language: {found}", settings.action, what))
        elif differ := mismatch("\n".join(row.prompts()), answer):
            what = f"the prompt is {differ[0]}, the answer {differ[1]}"
            findings.append(Finding(row.number, row.id, "language mismatch", "report", what))
    return counts, findings
