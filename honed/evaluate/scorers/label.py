"""The verifier ``label``: one of several labels, alone or said in a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

from honed.evaluate.scorers.params import Params, Text, Texts, read
from honed.records import Message, Score

_WORD = re.compile(r"\w+")
_CUE = re.compile(
    r"\b(?:label|answer|category|class|sentiment|verdict|choice)\b\s*(?:is|are|:|=|-)+\s*([^\n.;]+)", re.I
)


class Label(Params):
    """All ``labels`` there are, and the right one, ``answer``."""

    labels: Texts = Field(min_length=2)
    answer: Text

    @model_validator(mode="after")
    def _known(self) -> Label:
        if len({_words(label, exact=False) for label in self.labels}) < len(self.labels):
            raise ValueError("labels: two are the same")
        if self.answer not in self.labels:
            raise ValueError(f"answer: {self.answer!r} is none of the labels")
        return self


def verify(params: Mapping[str, Any], prompt: Sequence[Message], answer: str) -> Score:  # noqa: ARG001
    """Judge ``answer`` by the label that it names. Never raises on any answer; wrong parameters raise ``DataError``."""
    asked = read(Label, params, "label")
    found = named(asked.labels, answer)
    if len(found) != 1:
        said = f"names {' and '.join(map(repr, found))}" if found else f"names none of {', '.join(asked.labels)}"
        return Score(passed=False, why=f"The answer {said}; exactly one is asked for.")
    return Score(passed=found[0] == asked.answer, why=f"The answer names {found[0]!r}; {asked.answer!r} is right.")


def named(labels: Sequence[str], answer: str) -> list[str]:
    """Return the labels that an answer names: by being one, or in its last ``label: ...``, or anywhere.

    A label that lies inside another one named (``spam`` in ``not spam``) isn't named by it. Case plays no part unless
    all labels are single letters: ``It is a B`` then names ``B`` only.
    """
    letters = all(len(label) == 1 for label in labels)
    whole = [label for label in labels if _words(label, exact=False) == _words(answer, exact=False)]
    if whole:
        return whole
    cues = _CUE.findall(answer)
    cued = _inside(labels, cues[-1], exact=letters) if cues else []
    return cued if len(cued) == 1 else _inside(labels, answer, exact=letters)


def _words(text: str, *, exact: bool) -> str:
    """A text as its words between spaces; as it is if it has none."""
    return f" {' '.join(_WORD.findall(text if exact else text.casefold())) or text.strip()} "


def _inside(labels: Sequence[str], text: str, *, exact: bool) -> list[str]:
    left, found = _words(text, exact=exact).replace(" ", "  "), []
    spaced = {label: _words(label, exact=exact).replace(" ", "  ") for label in labels}
    for label in sorted(labels, key=lambda label: -len(label)):
        if spaced[label] in left:
            found.append(label)
            left = left.replace(spaced[label], " | ")
    return [label for label in labels if label in found]
