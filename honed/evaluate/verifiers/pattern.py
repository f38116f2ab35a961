"""The verifier ``pattern``: what an answer must contain, must not contain, must end with and must match.

For rows of your own, with nothing to program: a row's field ``check`` holds
``{"verifier": "pattern", "params": {"contains": ["€14.50"], "ends": "Bye."}}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from honed.errors import DataError
from honed.records import Message, Score

_LISTS = ("contains", "lacks", "matches")


def verify(params: Mapping[str, Any], prompt: Sequence[Message], answer: str) -> Score:  # noqa: ARG001
    """Judge ``answer`` by exact texts (case and all) and regular expressions; ``why`` names everything it lacks.

    ``contains`` and ``lacks`` are lists of texts, ``matches`` a list of regular expressions searched for anywhere,
    ``ends`` a text that the answer ends with, white space aside. Never raises on any answer; parameters that ask for
    nothing, or that can't be read, raise ``DataError``.
    """
    contains, lacks, matches, ends = _read(params)
    faults = [f"lacks {text!r}" for text in contains if text not in answer]
    faults += [f"contains {text!r}" for text in lacks if text in answer]
    faults += [f"does not match {rule.pattern!r}" for rule in matches if not rule.search(answer)]
    if ends and not answer.rstrip().endswith(ends.rstrip()):
        faults.append(f"does not end with {ends!r}")
    return Score(passed=not faults, why=f"The answer {' and '.join(faults) or 'has everything asked for'}.")


def _read(params: Mapping[str, Any]) -> tuple[list[str], list[str], list[re.Pattern[str]], str]:
    known = {*_LISTS, "ends"}
    if unknown := sorted(params.keys() - known):
        raise DataError(
            f"the verifier 'pattern' has no parameter {unknown[0]!r}", f"Known: {', '.join(sorted(known))}."
        )
    lists = {name: params.get(name, []) for name in _LISTS}
    ends = params.get("ends", "")
    for name, value in lists.items():
        if not isinstance(value, list | tuple) or not all(isinstance(text, str) and text for text in value):
            raise DataError(f"the parameter {name!r} of the verifier 'pattern' is no list of texts", 'Write ["text"].')
    if not isinstance(ends, str):
        raise DataError("the parameter 'ends' of the verifier 'pattern' is no text", 'Write "text".')
    if not ends and not any(lists.values()):
        raise DataError("the verifier 'pattern' asks for nothing", f"Give one of {', '.join(sorted(known))}.")
    try:
        rules = [re.compile(text) for text in lists["matches"]]
    except re.error as error:
        raise DataError(f"not a regular expression: {error.pattern!r}: {error.msg}", "Mend it in the check.") from error
    return list(lists["contains"]), list(lists["lacks"]), rules, ends
