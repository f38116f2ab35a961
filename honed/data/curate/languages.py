"""Languages: rows by the language of their answers, as far as script and commonest words tell (``data.language``)."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, Self

from pydantic import Field, model_validator

from honed.config import Config
from honed.data.curate.pieces import of_rows
from honed.data.curate.row import Finding, Row
from honed.data.curate.view import View
from honed.data.language import NAMES, SCRIPT_OF, language, mismatch

UNCLEAR = "unclear"


class Languages(Config):
    """Settings of the step ``languages``."""

    keep: tuple[str, ...] = Field(
        default=(), description=f"languages of answers that stay, all if none is named: {', '.join(sorted(NAMES))}"
    )
    unclear: Literal["keep", "drop"] = Field(
        default="keep", description="what is done about rows too short or mixed to tell, if keep names languages"
    )
    action: Literal["drop", "report"] = Field(default="drop", description="what is done about rows in another language")

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in self.keep:
            if name not in NAMES:
                raise ValueError(f"keep: {name!r} is no language that is told here{_instead(name)}")
        return self


def _instead(name: str) -> str:
    """Return what may have been meant: a setting, the script that the language is told by, or the nearest name."""
    if name.lower() == UNCLEAR:
        return "; rows that can't be told stay, unless unclear is drop"
    near = difflib.get_close_matches(name.title(), [*NAMES, *SCRIPT_OF], n=1)
    if near and near[0] in SCRIPT_OF:
        return f"; {near[0]} is told by its script only: {SCRIPT_OF[near[0]]}"
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(NAMES))}"


def languages(view: View, settings: Languages, say: Callable[[str], None]) -> Iterator[Finding]:
    """Count the languages of rows, drop those not in ``keep``, report prompts answered in another language.

    An answer that is too short or mixed to tell is read together with its prompt. What can't be told then either is
    ``unclear``: it stays, unless the settings say otherwise.
    """
    counts: Counter[str] = Counter()
    together = 0
    for some, prompted, findings in view.mapped(of_rows(partial(_told, settings))):
        counts.update(some)
        together += prompted
        yield from findings
    unclear = counts.pop(UNCLEAR, 0)
    said = [f"{count:,} {name}" for name, count in counts.most_common()]
    said += [f"{unclear:,} too short or mixed to tell"] if unclear else []
    note = f"; {together:,} of them told by prompt and answer together" if together else ""
    say(f"rows: {', '.join(said) or 'none'}{note}")


def _told(settings: Languages, rows: Iterator[Row]) -> tuple[Counter[str], int, list[Finding]]:
    counts: Counter[str] = Counter()
    together = 0
    findings = []
    for row in rows:
        answer, prompts = row.turns[-1].content, row.prompts()
        found, by = language(answer), "the answer's language"
        if not found and (found := language("\n".join((answer, *prompts)))):
            together, by = together + 1, "the language of prompt and answer"
        counts[found or UNCLEAR] += 1
        if settings.keep and not found:
            if settings.unclear == "drop":
                what = "prompt and answer are too short or mixed to tell their language"
                findings.append(Finding(row.number, row.id, f"language: {UNCLEAR}", settings.action, what))
        elif settings.keep and found not in settings.keep:
            what = f"{by} is {found}, which isn't among {', '.join(settings.keep)}"
            findings.append(Finding(row.number, row.id, f"language: {found}", settings.action, what))
        elif differ := mismatch("\n".join(prompts), answer):
            what = f"the prompt is {differ[0]}, the answer {differ[1]}"
            findings.append(Finding(row.number, row.id, "language mismatch", "report", what))
    return counts, together, findings
