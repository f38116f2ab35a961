"""Which answers say nothing: the rule that a guarded pass adds to a verifier's verdict, written down here only."""

from __future__ import annotations

import re
from collections.abc import Sequence

from honed.records import Message

LEAST_WORDS, LEAST_LETTERS = 4, 16
ECHOED, COVERED, RUN = 0.8, 0.5, 5
VARIED, LONG = 0.4, 24

RULE = (
    f"A guarded pass is a pass of the verifier by an answer that isn't vacuous. An answer is vacuous if it is one of "
    f"the constant answers of the floor; has fewer than {LEAST_WORDS} words and fewer than {LEAST_LETTERS} letters or "
    f"digits; echoes the prompt ({100 * ECHOED:.0f} % of its runs of {RUN} words are the prompt's, and it is at least "
    f"{100 * COVERED:.0f} % as long as the last user message); or repeats itself (of {LONG} or more runs of three "
    f"words under {100 * VARIED:.0f} % are different). No rule is held against an answer where the row's ideal answer "
    "breaks it too: a label may be one word long where one word is asked for."
)
"""What a report prints beside guarded scores."""

_WORD = re.compile(r"\w+")


def vacuous(prompt: Sequence[Message], answer: str, ideal: str, constants: Sequence[str]) -> str:
    """Return why an answer says nothing, or "" if it says something. ``ideal`` is "" where a row has none.

    The rule is ``RULE``. An empty answer is too short; a verifier has failed it before.
    """
    allowed = _broken(prompt, ideal, constants) if ideal.strip() else {}
    broken = _broken(prompt, answer, constants)
    return next((why for name, why in broken.items() if name not in allowed), "")


def _broken(prompt: Sequence[Message], answer: str, constants: Sequence[str]) -> dict[str, str]:
    words = _words(answer)
    found: dict[str, str] = {}
    if any(words == _words(constant) for constant in constants):
        found["constant"] = "It is one of the constant answers."
    if len(words) < LEAST_WORDS and sum(map(len, words)) < LEAST_LETTERS:
        found["short"] = f"It has {len(words)} {'word' if len(words) == 1 else 'words'}."
    if (share := _echoed(prompt, words)) >= ECHOED:
        found["echo"] = f"{100 * share:.0f} % of it is the prompt's."
    runs = _runs(words, 3)
    if len(runs) >= LONG and len(set(runs)) < VARIED * len(runs):
        found["repeats"] = f"It repeats itself: {len(set(runs))} of its {len(runs)} runs of three words are different."
    return found


def _echoed(prompt: Sequence[Message], words: list[str]) -> float:
    """The share of the answer's runs of words that the prompt has; 0 for one that is short beside the last message."""
    asked = next((_words(message.content) for message in reversed(prompt) if message.role == "user"), [])
    if not words or len(words) < COVERED * len(asked):
        return 0.0
    length = min(RUN, len(words))
    given = {run for message in prompt for run in _runs(_words(message.content), length)}
    runs = _runs(words, length)
    return sum(run in given for run in runs) / len(runs)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _runs(words: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(words[place : place + length]) for place in range(len(words) - length + 1)]
