"""Every type of instruction, by benchmark and by id."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from honed.evaluate.verifiers.case import CASE
from honed.evaluate.verifiers.counts import COUNTS
from honed.evaluate.verifiers.custom import CUSTOM
from honed.evaluate.verifiers.form import FORM
from honed.evaluate.verifiers.frame import FRAME
from honed.evaluate.verifiers.instruction import Instruction
from honed.evaluate.verifiers.keywords import KEYWORDS
from honed.evaluate.verifiers.layout import LAYOUT
from honed.evaluate.verifiers.length import LENGTH
from honed.evaluate.verifiers.ratios import RATIOS
from honed.evaluate.verifiers.repeats import REPEATS
from honed.evaluate.verifiers.sentence_rules import SENTENCES
from honed.evaluate.verifiers.wordplay import WORDPLAY

Table = Mapping[str, Instruction[Any]]


def _table(*kinds: tuple[Instruction[Any], ...]) -> Table:
    found = {one.id: one for kind in kinds for one in kind}
    assert len(found) == sum(map(len, kinds)), "two instructions have one id"
    return MappingProxyType(found)


IFEVAL = _table(KEYWORDS, LENGTH, FORM, CASE, FRAME)
"""The 25 types of J. Zhou and others, "Instruction-Following Evaluation for Large Language Models" (2023)."""

IFBENCH = _table(COUNTS, RATIOS, SENTENCES, WORDPLAY, LAYOUT, REPEATS, CUSTOM)
"""The 58 types of V. Pyatkin and others, "Generalizing Verifiable Instruction Following" (2025)."""
