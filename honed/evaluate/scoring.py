"""Verdicts: each row's verifier looked up before anything runs, an answer judged, and the floors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from honed import registry
from honed.errors import ConfigError
from honed.evaluate.outcome import Floors, rate
from honed.records import Conversation, Score
from honed.registry import Verifier
from honed.store import datasets

CONSTANTS = ("ok", "Yes.", "No.", "I don't know.", "Could you please give me more details?")
"""Answers that read nothing. With the rows' most frequent ideal answer they are tried for the constant floor."""


def choose(rows: Iterable[Conversation], limit: int | None, seed: int) -> tuple[list[Conversation], int]:
    """Return ``limit`` rows (all if None) in their stored order, and how many repeated another row's turns.

    The choice depends on the seed and on each row's text only, so it is the same for every model and is spread over
    the whole split, whatever its order.
    """
    seen: dict[str, tuple[int, Conversation]] = {}
    repeated = 0
    for place, row in enumerate(rows):
        repeated += row.id in seen
        seen.setdefault(row.id, (place, row))
    kept = list(seen.values())
    if limit is not None:
        kept = datasets.spread(((row.id, (place, row)) for place, row in kept), limit, seed)
    return [row for _, row in sorted(kept, key=lambda pair: pair[0])], repeated


def verifiers(rows: Iterable[Conversation], given: Mapping[str, Verifier] | None = None) -> dict[str, Verifier]:
    """Return the verifiers that the rows name, ``given`` ones among them.

    An unknown one raises ``ConfigError``: a row is never skipped for it.
    """
    found: dict[str, Verifier] = dict(given or {})
    for row in rows:
        if row.check and row.check.verifier not in found:
            try:
                found[row.check.verifier] = registry.get("verifiers", row.check.verifier)
            except ConfigError as error:
                raise ConfigError(f"row {row.id}: {error.message}", error.hint) from error
    return found


def judge(row: Conversation, answer: str, known: Mapping[str, Verifier]) -> Score | None:
    """Return the verdict on an answer, or None if the row has no verifier. An empty answer fails whatever is asked."""
    if row.check is None:
        return None
    try:
        score = known[row.check.verifier](row.check.params, row.prompt, answer)
    except Exception as error:  # a verifier may be another package's
        what = f"row {row.id}: the verifier {row.check.verifier!r} failed: {type(error).__name__}: {error}"
        raise ConfigError(what, "A verifier must judge any text: mend it, or the row's parameters.") from error
    if answer.strip():
        return score
    return Score(passed=False, value=None if score.value is None else 0.0, why="The answer is empty.")


def floors(
    rows: Sequence[Conversation], known: Mapping[str, Verifier]
) -> tuple[Floors | None, dict[str, dict[str, bool]]]:
    """Return the floors, and for each verified row's id the verdicts of ``constant`` and ``echo``.

    The constant is the one that passes most of these very rows, so the floor errs on the high side.
    """
    verified = [row for row in rows if row.check]
    if not verified:
        return None, {}
    frequent = Counter(row.answer for row in verified).most_common(1)[0][0]
    texts = dict.fromkeys((*CONSTANTS, frequent))
    constants = {text: [_passes(row, text, known) for row in verified] for text in texts}
    best = max(constants, key=lambda text: sum(constants[text]))
    echo = [_passes(row, echoed(row), known) for row in verified]
    verdicts = {
        row.id: {"constant": constant, "echo": back}
        for row, constant, back in zip(verified, constants[best], echo, strict=True)
    }
    rates = {text: sum(passed) / len(passed) for text, passed in constants.items()}
    return Floors(constant=rate(constants[best]), constant_answer=best, constants=rates, echo=rate(echo)), verdicts


def echoed(row: Conversation) -> str:
    """Return what a model that repeats its prompt would answer: the last user message."""
    return next((message.content for message in reversed(row.prompt) if message.role == "user"), "")


def _passes(row: Conversation, answer: str, known: Mapping[str, Verifier]) -> bool:
    score = judge(row, answer, known)
    return score is not None and score.passed
