"""The verifier ``label``: one of several labels, alone or said in a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

from honed.evaluate.scorers.normal import normalised, within
from honed.evaluate.scorers.params import Params, Text, Texts, read
from honed.records import Message, Score

_CUE = re.compile(
    r"\b(?:label|answer|category|class|sentiment|verdict|choice)\b\s*(?:is|are|:|=|-)+\s*([^\n.;]+)", re.I
)


class Label(Params):
    """All ``labels`` there are, and the right one, ``answer``."""

    labels: Texts = Field(min_length=2)
    answer: Text

    @model_validator(mode="after")
    def _known(self) -> Label:
        if len({normalised(label) for label in self.labels}) < len(self.labels):
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

    A label that lies inside another one named (``spam`` in ``not spam``) isn't named by it.
    """
    whole = [label for label in labels if normalised(label) == normalised(answer)]
    if whole:
        return whole
    cues = _CUE.findall(answer)
    cued = _inside(labels, cues[-1]) if cues else []
    return cued if len(cued) == 1 else _inside(labels, answer)


def _inside(labels: Sequence[str], text: str) -> list[str]:
    left, found = normalised(text), []
    for label in sorted(labels, key=lambda label: -len(normalised(label))):
        if within(label, left):
            found.append(label)
            left = f" {left} ".replace(f" {normalised(label)} ", " | ")
    return [label for label in labels if label in found]
